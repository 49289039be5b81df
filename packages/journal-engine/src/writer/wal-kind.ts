/** What a frame of the journal's WAL holds. */
export const WAL_KIND = {
  /** One batch, in the bytes of batch/batch-format.ts. */
  batch: 1,
  /** The durable ends of all open segments when a checkpoint was made (recovery/checkpoint-state.ts). */
  checkpoint: 2,
} as const;
