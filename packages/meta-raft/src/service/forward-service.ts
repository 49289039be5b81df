// The leader's side of what followers hand on (MetaForwardService), and the followers' side of it (GrpcLeaderLink).

import { type ChannelCredentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { Clock } from '@robustmq/stdx/clock';
import { CHANNEL_OPTIONS } from '../client/endpoints.js';
import { fromRpcFailure } from '../client/rpc-status.js';
import { MetaError } from '../errors.js';
import {
  MetaForwardServiceClient,
  type MetaForwardServiceServer,
  type NotLeader,
} from '../gen/robustmq/raft/v1/raft.js';
import type { CommandResult } from '../state/command.js';
import type { LeaseId } from '../state/record.js';
import { decodeResult, encodeResult } from '../state/result-codec.js';
import { leaseNotFound } from '../state/transaction.js';
import type { LeaderLink, ReplicatedStateAccess } from './replicated-state-access.js';
import { unary } from './unary.js';

export interface ForwardServiceDeps {
  readonly access: (group: number) => ReplicatedStateAccess | undefined;
  /** Whom the asker should turn to instead. */
  readonly leader: (group: number) => number | undefined;
}

export function createForwardService(deps: ForwardServiceDeps): MetaForwardServiceServer {
  const served = (group: number) => {
    const access = deps.access(group);
    if (access) return access;
    throw new MetaError('NOT_SUPPORTED', `This node has no group ${group}.`);
  };
  const elsewhere = (group: number, error: unknown): { $case: 'notLeader'; value: NotLeader } => {
    if (!(error instanceof MetaError) || error.code !== 'NOT_LEADER') throw error;
    return { $case: 'notLeader', value: { leader: deps.leader(group) } };
  };
  const goneOr = (group: number, error: unknown) =>
    error instanceof MetaError && error.code === 'LEASE_NOT_FOUND'
      ? ({ $case: 'gone', value: {} } as const)
      : elsewhere(group, error);
  return {
    propose: unary(async ({ group, command }) => {
      try {
        const result = await served(group).proposeHere(command);
        return { outcome: { $case: 'result', value: encodeResult(result) } };
      } catch (error) {
        return { outcome: elsewhere(group, error) };
      }
    }),
    keepLeaseAlive: unary(async ({ group, leaseId }) => {
      try {
        const { ttlMs } = await served(group).keepLeaseAliveHere(leaseId);
        return { outcome: { $case: 'ttlMs', value: ttlMs } };
      } catch (error) {
        return { outcome: goneOr(group, error) };
      }
    }),
    leaseRemaining: unary(async ({ group, leaseId }) => {
      try {
        const { remainingMs } = await served(group).leaseRemainingHere(leaseId);
        return { outcome: { $case: 'remainingMs', value: Math.round(remainingMs) } };
      } catch (error) {
        return { outcome: goneOr(group, error) };
      }
    }),
  };
}

export interface GrpcLeaderLinkDeps {
  readonly group: number;
  /** host:port of a node, when it is known. */
  readonly addressOf: (node: number) => string | undefined;
  readonly credentials: ChannelCredentials;
  readonly secret: string | undefined;
  readonly clock: Clock;
  /** Milliseconds for one call. */
  readonly timeoutMs: number;
}

type Stub<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: ServiceError | null, response: Response) => void,
) => unknown;

export class GrpcLeaderLink implements LeaderLink {
  readonly #deps: GrpcLeaderLinkDeps;
  readonly #clients = new Map<string, MetaForwardServiceClient>();

  constructor(deps: GrpcLeaderLinkDeps) {
    this.#deps = deps;
  }

  async propose(leader: number, command: Buffer): Promise<CommandResult> {
    const { group } = this.#deps;
    const { outcome } = await this.#call(leader, (client) => client.propose.bind(client), { group, command });
    if (outcome?.$case === 'result') return decodeResult(outcome.value);
    throw this.#elsewhere(leader);
  }

  async keepLeaseAlive(leader: number, id: LeaseId): Promise<{ readonly ttlMs: number }> {
    const request = { group: this.#deps.group, leaseId: id };
    const { outcome } = await this.#call(leader, (client) => client.keepLeaseAlive.bind(client), request);
    if (outcome?.$case === 'ttlMs') return { ttlMs: outcome.value };
    throw outcome?.$case === 'gone' ? noLease(id) : this.#elsewhere(leader);
  }

  async leaseRemaining(leader: number, id: LeaseId): Promise<{ readonly remainingMs: number }> {
    const request = { group: this.#deps.group, leaseId: id };
    const { outcome } = await this.#call(leader, (client) => client.leaseRemaining.bind(client), request);
    if (outcome?.$case === 'remainingMs') return { remainingMs: outcome.value };
    throw outcome?.$case === 'gone' ? noLease(id) : this.#elsewhere(leader);
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #call<Request, Response>(
    leader: number,
    stub: (client: MetaForwardServiceClient) => Stub<Request, Response>,
    request: Request,
  ): Promise<Response> {
    const { addressOf, secret, clock, timeoutMs } = this.#deps;
    const address = addressOf(leader);
    if (address === undefined) {
      return Promise.reject(new MetaError('UNAVAILABLE', `Node ${leader} leads, and its address is not known here.`));
    }
    const metadata = new Metadata();
    if (secret !== undefined) metadata.set('authorization', `Bearer ${secret}`);
    return new Promise((resolve, reject) => {
      const deadline = clock.wallTime() + timeoutMs;
      stub(this.#client(address))(request, metadata, { deadline }, (failure, response) => {
        if (failure) reject(fromRpcFailure(failure, address));
        else resolve(response);
      });
    });
  }

  #client(address: string): MetaForwardServiceClient {
    const known = this.#clients.get(address);
    if (known) return known;
    const client = new MetaForwardServiceClient(address, this.#deps.credentials, CHANNEL_OPTIONS);
    this.#clients.set(address, client);
    return client;
  }

  #elsewhere(leader: number): MetaError {
    return new MetaError('NOT_LEADER', `Node ${leader} does not lead any more. Nothing was done.`);
  }
}

function noLease(id: LeaseId): MetaError {
  return new MetaError('LEASE_NOT_FOUND', leaseNotFound(id).message);
}
