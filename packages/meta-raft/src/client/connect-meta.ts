import { randomBytes } from 'node:crypto';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { resolveConnectOptions } from '../options.js';
import { Endpoints } from './endpoints.js';
import { GrpcMetaClient } from './grpc-meta-client.js';
import type { MetaClient } from './meta-client.js';

export interface ConnectMetaOptions {
  /** host:port of the metadata nodes; any of them serves everything, so one is enough while it lives. */
  readonly endpoints: readonly string[];
  /** Sent as `authorization: Bearer <secret>`; required when the cluster has one. */
  readonly secret?: string;
  /** For TLS: grpc-js channel credentials. Plain text by default. */
  readonly credentials?: ChannelCredentials;
  /** Milliseconds for a call with all its attempts. Default 10,000: longer than any election. From 1 to 600,000. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds for one attempt. Default 3,000: a member that hangs is left for the next. From 1 to 600,000. */
  readonly attemptTimeoutMs?: number;
  /**
   * `deduplicated` (default) repeats a write whose outcome is unknown; our service applies it once. `never` is for a real
   * etcd, which cannot tell.
   */
  readonly writeRetries?: 'deduplicated' | 'never';
}

export interface ConnectMetaDeps {
  readonly clock?: Clock;
  readonly prng?: Prng;
  readonly logger?: Logger;
}

/** A client of a metadata cluster. Connects when first used; throws MetaError INVALID for options out of range. */
export function connectMeta(options: ConnectMetaOptions, deps: ConnectMetaDeps = {}): MetaClient {
  const { requestTimeoutMs, attemptTimeoutMs, writeRetries, limits } = resolveConnectOptions(options);
  const endpoints = new Endpoints({
    addresses: options.endpoints,
    secret: options.secret,
    credentials: options.credentials,
  });
  return new GrpcMetaClient({
    endpoints,
    limits,
    requestTimeoutMs,
    attemptTimeoutMs,
    writeRetries,
    clock: deps.clock ?? systemClock,
    prng: deps.prng ?? createPrng(randomBytes(8).toString('hex')),
    logger: deps.logger ?? nullLogger,
  });
}
