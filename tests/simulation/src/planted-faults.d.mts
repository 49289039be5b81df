export interface PlantedFault {
  /** As `--plant` takes it. */
  readonly name: string;
  /** The number of the pitfall it is an instance of. */
  readonly pitfall: number;
  readonly what: string;
  /** From the root of the repository. */
  readonly file: string;
  /** What stands there exactly once, and what takes its place. */
  readonly changes: readonly (readonly [original: string, planted: string])[];
}

export const PLANTED_FAULTS: readonly PlantedFault[];
