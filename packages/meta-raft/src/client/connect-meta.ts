import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { type ConnectMetaOptions, resolveConnectOptions } from '../options.js';
import { Endpoints } from './endpoints.js';
import { GrpcMetaClient } from './grpc-meta-client.js';
import type { MetaClient } from './meta-client.js';

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
