import { randomUUID } from 'node:crypto';

/** Two processes never draw the same numbers: the one place where real chance comes in. */
export const randomSeed = (): string => randomUUID();
