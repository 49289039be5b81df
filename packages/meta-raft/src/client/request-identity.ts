/** Metadata of a write beside its etcd message. A real etcd ignores it. */
export const IDENTITY_KEYS = {
  client: 'robustmq-client',
  sequence: 'robustmq-sequence',
  settledBelow: 'robustmq-settled-below',
  attempt: 'robustmq-attempt',
} as const;
