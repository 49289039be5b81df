// A node as the cluster knows it: the JSON value of the key `nodes/<node id>` in the metadata.

import type { MetaClient } from '@robustmq/meta-raft/client';
import { z } from 'zod';
import { ROLES } from './config/schema.js';

const KEY_PREFIX = 'nodes/';

const nodeRecordSchema = z.object({
  nodeId: z.int().min(1),
  /** Drawn by each process: two records with one node id and two incarnations are two processes. */
  incarnation: z.string(),
  /** The UUID of the data directory, of which there is one holder; absent on a node that keeps nothing. */
  dataDirectoryId: z.string().optional(),
  roles: z.array(z.enum(ROLES)),
  /** What is reachable where: `grpc`, `mqtt.tcp`, … to host:port. */
  addresses: z.record(z.string(), z.string()),
  version: z.string(),
  /** ISO 8601. */
  startedAt: z.string(),
});

export type NodeRecord = Readonly<z.output<typeof nodeRecordSchema>>;

export function nodeKey(nodeId: number): string {
  return `${KEY_PREFIX}${nodeId}`;
}

export function encodeNodeRecord(record: NodeRecord): Buffer {
  return Buffer.from(JSON.stringify(record));
}

/** `undefined` for what no version of ours wrote. Unknown fields, of a newer version, are let through. */
export function decodeNodeRecord(value: Uint8Array): NodeRecord | undefined {
  try {
    return nodeRecordSchema.safeParse(JSON.parse(Buffer.from(value).toString('utf8'))).data;
  } catch {
    return undefined;
  }
}

/** The nodes that are registered now, by node id. */
export async function listNodes(meta: MetaClient, options?: { readonly signal?: AbortSignal }): Promise<NodeRecord[]> {
  const { kvs } = await meta.range({ prefix: KEY_PREFIX }, options);
  return kvs.flatMap(({ value }) => decodeNodeRecord(value) ?? []).sort((a, b) => a.nodeId - b.nodeId);
}
