// How a node that is no member becomes one: it asks the members it knows, one after the other, until one has an answer.
//
// The node asks to be added as a learner, under its own id, at its own address. Asking again is harmless. Once it has caught up it
// asks to be promoted.

import { Metadata, type ServiceError } from '@grpc/grpc-js';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { CHANNEL_OPTIONS } from '../client/endpoints.js';
import { fromRpcFailure } from '../client/rpc-status.js';
import type { NodeId } from '../core/types.js';
import { MetaError } from '../errors.js';
import { ClusterClient, type MemberAddResponse } from '../gen/etcdserverpb/rpc.js';
import type { RpcCredentials } from '../rpc-credentials.js';
import { NODE_ID_KEY } from './cluster-service.js';

export interface JoinOptions {
  readonly node: NodeId;
  /** host:port where the others reach this node. */
  readonly address: string;
  /** host:port of members. */
  readonly members: readonly string[];
  readonly credentials: RpcCredentials;
  readonly secret: string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Milliseconds for one member to answer, and between two rounds. */
const ATTEMPT_MS = 3_000;
const PAUSE_MS = 500;

export interface JoinedCluster {
  readonly clusterId: string;
  /** Where the members are, by node: those this node was configured with may be some of them only. */
  readonly addresses: ReadonlyMap<NodeId, string>;
}

/** Resolves when this node was taken in. Rejects with UNAVAILABLE when no member answers in time, or with a member's refusal. */
export async function joinCluster(options: JoinOptions): Promise<JoinedCluster> {
  const response = await ask(options, (client, metadata, deadline) => {
    metadata.set(NODE_ID_KEY, String(options.node));
    return new Promise<MemberAddResponse>((resolve, reject) => {
      const request = { peerURLs: [`http://${options.address}`], isLearner: true };
      client.memberAdd(request, metadata, { deadline }, (failure, answer) => {
        if (failure) reject(failure);
        else resolve(answer);
      });
    });
  });
  if (response.header) {
    const addresses = response.members.map(({ ID, peerURLs }) => [Number(ID), addressOf(peerURLs[0])] as const);
    return {
      clusterId: response.header.clusterId,
      addresses: new Map(addresses.filter(([, address]) => address !== '')),
    };
  }
  throw new MetaError('WRONG_CLUSTER', 'A member answered without the id of its cluster. Is it a metadata node?');
}

/** Resolves when this node votes. */
export async function promoteSelf(options: JoinOptions): Promise<void> {
  await ask(options, (client, metadata, deadline) => {
    return new Promise<unknown>((resolve, reject) => {
      client.memberPromote({ ID: String(options.node) }, metadata, { deadline }, (failure, answer) => {
        if (failure) reject(failure);
        else resolve(answer);
      });
    });
  });
}

function addressOf(url: string | undefined): string {
  return url?.replace(/^https?:\/\//, '') ?? '';
}

async function ask<Answer>(
  options: JoinOptions,
  question: (client: ClusterClient, metadata: Metadata, deadline: number) => Promise<Answer>,
): Promise<Answer> {
  const { members, credentials, secret, clock, logger, timeoutMs, signal } = options;
  const untilMs = clock.now() + timeoutMs;
  let last: unknown;
  do {
    for (const address of members) {
      signal?.throwIfAborted();
      const client = new ClusterClient(address, credentials, CHANNEL_OPTIONS);
      const metadata = new Metadata();
      if (secret !== undefined) metadata.set('authorization', `Bearer ${secret}`);
      try {
        return await question(client, metadata, clock.wallTime() + ATTEMPT_MS);
      } catch (failure) {
        const error = fromRpcFailure(failure as ServiceError, address); // grpc-js rejects with nothing else
        if (error.next === 'never' && error.code !== 'LEARNER_NOT_READY') throw error;
        logger.debug({ address, error: errorMessage(error) }, 'a member did not let this node join yet');
        last = error;
      } finally {
        client.close();
      }
    }
    await new Promise<void>((resolve) => clock.setTimer(PAUSE_MS, resolve));
  } while (clock.now() < untilMs);
  const message = `No member (${members.join(', ')}) let node ${options.node} join within ${timeoutMs / 1000} s. A majority of them must run and be reachable.`;
  throw new MetaError('UNAVAILABLE', message, { cause: last });
}
