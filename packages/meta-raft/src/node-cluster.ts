// What a node knows and does about who takes part: addresses, changes, joining, and being removed.

import { errorMessage } from '@robustmq/stdx/coded-error';
import { AddressBook } from './address-book.js';
import { CHANNEL_OPTIONS } from './client/endpoints.js';
import type { Membership, MembershipChange, NodeId } from './core/types.js';
import type { PeerTransport } from './driver/peer-transport.js';
import type { RaftGroup } from './driver/raft-group.js';
import { MetaError } from './errors.js';
import { ClusterClient } from './gen/etcdserverpb/rpc.js';
import type { MetaNodeDeps } from './meta-node-deps.js';
import type { ResolvedMetaOptions } from './options.js';
import { plainText } from './rpc-credentials.js';
import type { ClusterAccess } from './service/cluster-access.js';
import { type JoinedCluster, type JoinOptions, joinCluster, promoteSelf } from './service/join-cluster.js';
import type { CommandResult } from './state/command.js';

/** Entries a learner may be behind and still be promoted: a fraction of a second of writes. */
const CAUGHT_UP_ENTRIES = 1_000;

export interface NodeClusterParts {
  readonly options: ResolvedMetaOptions;
  readonly deps: MetaNodeDeps;
  /** What the members said when this node joined, in this start. */
  readonly learned: ReadonlyMap<NodeId, string>;
  readonly transport: PeerTransport;
  readonly group: RaftGroup<CommandResult>;
}

export class NodeCluster implements ClusterAccess {
  readonly #parts: NodeClusterParts;
  readonly #book: AddressBook;
  readonly #closed = new AbortController();
  /** The stub for the leader, by its address. */
  #leader: { readonly address: string; readonly client: ClusterClient } | undefined;

  constructor(parts: NodeClusterParts) {
    this.#parts = parts;
    this.#book = new AddressBook(new Map([...parts.learned, ...parts.options.addresses]), () => this.membership());
  }

  membership(): Membership {
    return this.#parts.group.status().membership;
  }

  addressOf(node: NodeId): string | undefined {
    return this.#book.addressOf(node);
  }

  change(change: MembershipChange): Promise<Membership> {
    return this.#parts.group.changeMembership(change);
  }

  progressOf(node: NodeId): 'unheard' | 'behind' | 'caught-up' {
    const { group } = this.#parts;
    const match = group.matchOf(node) ?? 0;
    if (match === 0) return 'unheard';
    return group.status().commitIndex - match <= CAUGHT_UP_ENTRIES ? 'caught-up' : 'behind';
  }

  leader(): 'here' | ClusterClient | undefined {
    const { role, leader } = this.#parts.group.status();
    if (role === 'leader') return 'here';
    const address = leader === undefined ? undefined : this.addressOf(leader);
    if (address === undefined) return undefined;
    if (this.#leader?.address !== address) {
      this.#leader?.client.close();
      const credentials = this.#parts.options.credentials ?? plainText();
      this.#leader = { address, client: new ClusterClient(address, credentials, CHANNEL_OPTIONS) };
    }
    return this.#leader.client;
  }

  /** The transport speaks with who is a member now. */
  refreshPeers(): void {
    const { options, transport, group } = this.#parts;
    const { retired } = this.membership();
    transport.setPeers(this.#book.peersOf(options.node), retired);
    if (!retired?.includes(options.node)) return;
    const message = `Node ${options.node} was removed from the cluster. Stop it; to come back it needs an empty directory and a new id.`;
    group.fail(new MetaError('REMOVED', message));
  }

  /** In the background: a node that joined asks for its vote, until it has it. */
  seekVote(): void {
    const { options, deps } = this.#parts;
    if (!this.membership().learners.includes(options.node)) return;
    promoteSelf(joinOptions(options, deps, this.#closed.signal)).then(
      () => deps.logger.info({ node: options.node }, 'this node is a voting member now'),
      (error: unknown) => {
        if (this.#closed.signal.aborted) return;
        const fields = { node: options.node, error: errorMessage(error) };
        deps.logger.warn(fields, 'this node remains a learner; promote it with etcdctl member promote, or restart it');
      },
    );
  }

  close(): void {
    this.#closed.abort();
    this.#leader?.client.close();
  }
}

/** For a fresh directory: resolves when a cluster has taken this node in. */
export function joinAsLearner(
  options: ResolvedMetaOptions,
  deps: MetaNodeDeps,
  signal: AbortSignal | undefined,
): Promise<JoinedCluster> {
  return joinCluster(joinOptions(options, deps, signal));
}

function joinOptions(
  options: ResolvedMetaOptions,
  { clock, logger }: MetaNodeDeps,
  signal: AbortSignal | undefined,
): JoinOptions {
  const { node, addresses, credentials, secret, startTimeoutMs } = options;
  const members = [...addresses].filter(([id]) => id !== node).map(([, address]) => address);
  return {
    node,
    address: addresses.get(node) ?? '',
    members,
    credentials: credentials ?? plainText(),
    secret,
    clock,
    logger,
    timeoutMs: startTimeoutMs,
    signal,
  };
}
