import { readFileSync } from 'node:fs';
import { RuntimeError } from './errors.js';

/** What a node opens for itself: 512 segment files, logs, the level stores, peers, listeners, probes. */
const RESERVED = 768;

/** Below this a node cannot do useful work, however few connections are asked for. */
const LIMIT_MIN = 1024;

export interface FileDescriptorNeed {
  readonly maxConnections: number;
  /** Whether somebody wrote the number: then it is a promise, and less is refused instead of taken. */
  readonly isExplicit: boolean;
  /** The open-file limit; asked of the system when absent, and unknown on systems without /proc. */
  readonly limit?: number | undefined;
}

export type FileDescriptorVerdict =
  | { readonly kind: 'enough'; readonly maxConnections: number }
  | { readonly kind: 'lowered'; readonly maxConnections: number; readonly warning: string };

/**
 * How many connections the limit on open files allows. Throws TOO_FEW_FILE_DESCRIPTORS when it is below what was
 * asked for by name, or below what a node needs for itself.
 */
export function checkFileDescriptors(need: FileDescriptorNeed): FileDescriptorVerdict {
  const { maxConnections, isExplicit } = need;
  const limit = need.limit ?? openFileLimit();
  const needed = maxConnections + RESERVED;
  if (limit >= needed) return { kind: 'enough', maxConnections };
  const todo = `Raise it (ulimit -n ${needed}, LimitNOFILE= in systemd, --ulimit nofile= in docker)`;
  if (isExplicit || limit < LIMIT_MIN) {
    throw new RuntimeError(
      'TOO_FEW_FILE_DESCRIPTORS',
      `too few file descriptors: the limit is ${limit} and ${maxConnections} connections need ${needed}. ${todo} or lower mqtt.limits.max_connections`,
    );
  }
  const possible = limit - RESERVED;
  return {
    kind: 'lowered',
    maxConnections: possible,
    warning: `the limit of ${limit} open files leaves room for ${possible} connections. ${todo} for more`,
  };
}

/** The soft limit, which Node raises to the hard one when it starts; without end where there is no /proc. */
function openFileLimit(): number {
  let text: string;
  try {
    text = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return Number.POSITIVE_INFINITY;
  }
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(text)?.[1];
  return soft === undefined || soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}
