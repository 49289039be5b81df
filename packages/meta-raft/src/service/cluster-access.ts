import type { Membership, MembershipChange, NodeId } from '../core/types.js';
import type { ClusterClient } from '../gen/etcdserverpb/rpc.js';

/** What the Cluster service asks of the node to change who takes part. */
export interface ClusterAccess {
  membership(): Membership;
  /** Resolves when the change is applied here; this node leads. */
  change(change: MembershipChange): Promise<unknown>;
  /** As the leader sees it: `unheard` when the member has taken nothing yet. */
  progressOf(node: NodeId): 'unheard' | 'behind' | 'caught-up';
  /** Where changes are made; undefined when no leader is known. */
  leader(): 'here' | ClusterClient | undefined;
}
