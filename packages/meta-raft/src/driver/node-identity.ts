// Who a metadata directory belongs to: meta.json, written once, before anything else.
//
// One JSON object in UTF-8 with a newline at its end:
//   format       1: the version of the layout of the whole directory
//   cluster      the cluster's name, as configured when the directory was made
//   cluster_id   decimal text of a 64-bit number, from the name and the founders: two clusters that were founded with the
//                same name by other nodes differ
//   node         the node's id
//   joined       true when the node joined a cluster that was there: it founds none, whatever its configuration says later
// It is written to meta.json.tmp, synced, renamed, and the directory synced: after a crash it is whole or absent. Absent
// means that nothing was promised yet.

import { createHash } from 'node:crypto';
import type { Disk } from '@robustmq/wal';
import type { NodeId } from '../core/types.js';
import { MetaError } from '../errors.js';

const FORMAT = 1;
const FILE = 'meta.json';
const BYTES_MAX = 64 * 1024;

export interface NodeIdentity {
  readonly cluster: string;
  readonly clusterId: string;
  readonly node: NodeId;
  readonly joined: boolean;
}

export interface IdentityOptions {
  readonly directory: string;
  readonly cluster: string;
  readonly node: NodeId;
  readonly founders: readonly NodeId[];
  /** For a fresh directory: joins a cluster and resolves with its id, instead of founding one. */
  readonly join?: (() => Promise<string>) | undefined;
}

/** Rejects with DIRECTORY_MISMATCH when the directory is of another cluster, node or format, with DAMAGED when it cannot be told. */
export async function claimDirectory(disk: Disk, options: IdentityOptions): Promise<NodeIdentity> {
  const { directory, cluster, node, founders, join } = options;
  const path = `${directory}/${FILE}`;
  if (await disk.exists(path)) {
    const found = parse(path, await read(disk, path));
    if (found.cluster !== cluster) throw mismatch(directory, `cluster "${found.cluster}", not "${cluster}"`);
    if (found.node !== node) throw mismatch(directory, `node ${found.node}, not ${node}`);
    return found;
  }
  const clusterId = join ? await join() : clusterIdOf(cluster, founders);
  const identity = { cluster, clusterId, node, joined: join !== undefined };
  await write(disk, { directory, path, identity });
  return identity;
}

export function clusterIdOf(cluster: string, founders: readonly NodeId[]): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([cluster, [...founders].sort((a, b) => a - b)]))
    .digest();
  return hash.readBigUInt64BE(0).toString();
}

async function read(disk: Disk, path: string): Promise<string> {
  const file = await disk.open(path, 'read');
  try {
    const bytes = Buffer.alloc(Math.min(await file.size(), BYTES_MAX));
    const length = await file.read(bytes, 0);
    return bytes.toString('utf8', 0, length);
  } finally {
    await file.close();
  }
}

async function write(
  disk: Disk,
  { directory, path, identity }: { readonly directory: string; readonly path: string; readonly identity: NodeIdentity },
): Promise<void> {
  const { cluster, clusterId, node, joined } = identity;
  const fields = { format: FORMAT, cluster, cluster_id: clusterId, node, ...(joined ? { joined } : {}) };
  const text = `${JSON.stringify(fields)}\n`;
  const file = await disk.open(`${path}.tmp`, 'read-write');
  try {
    await file.truncate(0);
    await file.write([Buffer.from(text)], 0);
    await file.datasync();
  } finally {
    await file.close();
  }
  await disk.rename(`${path}.tmp`, path);
  await disk.syncDirectory(directory);
}

function parse(path: string, text: string): NodeIdentity {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch (error) {
    throw unreadable(path, error);
  }
  if (typeof fields !== 'object' || fields === null) throw unreadable(path);
  const { format, cluster, cluster_id: clusterId, node, joined } = fields as Record<string, unknown>; // an object, checked above
  if (typeof format === 'number' && format !== FORMAT) {
    const advice = 'Start the version of the program that wrote it, or give this one a directory of its own';
    throw new MetaError(
      'DIRECTORY_MISMATCH',
      `${path} says format ${format}; this program knows format ${FORMAT}. ${advice}.`,
    );
  }
  if (format !== FORMAT || typeof cluster !== 'string' || typeof clusterId !== 'string') throw unreadable(path);
  if (typeof node !== 'number' || !Number.isSafeInteger(node)) throw unreadable(path);
  return { cluster, clusterId, node, joined: joined === true };
}

function mismatch(directory: string, whose: string): MetaError {
  return new MetaError(
    'DIRECTORY_MISMATCH',
    `The metadata directory ${directory} belongs to ${whose}. Give this node a directory of its own, or correct its configuration.`,
  );
}

function unreadable(path: string, cause?: unknown): MetaError {
  const message = `${path} does not say whose directory this is. Restore it from a backup, or replace this node by one with an empty directory and a new id.`;
  return new MetaError('DAMAGED', message, { cause });
}
