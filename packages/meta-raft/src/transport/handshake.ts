// Who speaks to whom, in the metadata of every call between peers.

import { Metadata, status } from '@grpc/grpc-js';
import type { NodeId } from '../core/types.js';

export const PROTOCOL = 1;

const KEYS = {
  cluster: 'robustmq-cluster-bin',
  from: 'robustmq-from',
  to: 'robustmq-to',
  protocol: 'robustmq-protocol',
} as const;

const REMOVED_KEY = 'robustmq-removed';

export interface PeerIdentity {
  /** The cluster's name. */
  readonly cluster: string;
  readonly node: NodeId;
}

export interface HandshakeRefusal {
  readonly code: status;
  readonly details: string;
  readonly metadata?: Metadata;
}

export function handshake(self: PeerIdentity, to: NodeId, secret: string | undefined): Metadata {
  const metadata = new Metadata();
  // In binary: a cluster's name is any text, a header is ASCII.
  metadata.set(KEYS.cluster, Buffer.from(self.cluster));
  metadata.set(KEYS.from, String(self.node));
  metadata.set(KEYS.to, String(to));
  metadata.set(KEYS.protocol, String(PROTOCOL));
  if (secret !== undefined) metadata.set('authorization', `Bearer ${secret}`);
  return metadata;
}

/** The peer, or why it is turned away. */
export function checkHandshake(self: PeerIdentity, metadata: Metadata): { readonly from: NodeId } | HandshakeRefusal {
  const read = (key: string) => metadata.get(key)[0]?.toString() ?? '';
  const protocol = Number(read(KEYS.protocol));
  if (protocol !== PROTOCOL)
    return refuse(`speaks protocol ${protocol}, this node ${PROTOCOL}: run the same version on both`);
  const cluster = read(KEYS.cluster);
  if (cluster !== self.cluster) return refuse(`belongs to cluster "${cluster}", this node to "${self.cluster}"`);
  const to = Number(read(KEYS.to));
  if (to !== self.node)
    return refuse(`looks for node ${to} at the address of node ${self.node}: correct its list of peers`);
  const from = Number(read(KEYS.from));
  if (!Number.isSafeInteger(from) || from < 1) return refuse('names no node id');
  if (from === self.node) return refuse(`calls itself node ${from}, as this one does: give each node an id of its own`);
  return { from };
}

/** To a node that was removed: in the metadata, so that it can act on it. */
export function refuseRemoved(node: NodeId): HandshakeRefusal {
  const metadata = new Metadata();
  metadata.set(REMOVED_KEY, '1');
  return {
    ...refuse(`, node ${node}, was removed from the cluster: give a new node an empty directory and a new id`),
    metadata,
  };
}

export function saysRemoved(metadata: Metadata | undefined): boolean {
  return (metadata?.get(REMOVED_KEY).length ?? 0) > 0;
}

function refuse(why: string): HandshakeRefusal {
  return { code: status.FAILED_PRECONDITION, details: `The caller ${why}.` };
}
