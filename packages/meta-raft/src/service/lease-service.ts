import type { ServerDuplexStream } from '@grpc/grpc-js';
import { accepted } from '../client/requests.js';
import { toRpcFailure } from '../client/rpc-status.js';
import { MetaError } from '../errors.js';
import type {
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesResponse,
  LeaseRevokeResponse,
  LeaseServer,
  LeaseTimeToLiveResponse,
} from '../gen/etcdserverpb/rpc.js';
import { keyToBytes } from '../state/key-range.js';
import { LEASE_TTL_MS_MAX } from '../state/meta-state.js';
import { responseHeader, type ServiceContext } from './service-context.js';
import { identityOf, unary } from './unary.js';

const TTL_SECONDS_MIN = 2;

/** etcdserverpb.Lease over the state. Times are whole seconds on the wire. */
export function createLeaseService(context: ServiceContext): LeaseServer {
  return {
    leaseGrant: unary(async (request, call): Promise<LeaseGrantResponse> => {
      const id = request.ID === '0' ? String(context.prng.between(1, 2 ** 48)) : request.ID;
      const body = { kind: 'grant-lease', id, ttlMs: toTtlMs(request.TTL) } as const;
      const granted = accepted(await context.access.propose({ body, ...identityOf(call) }), 'lease-granted');
      const header = responseHeader(context, granted.revision);
      return { header, ID: granted.id, TTL: granted.ttlMs / 1000, error: '' };
    }),
    leaseRevoke: unary(async (request, call): Promise<LeaseRevokeResponse> => {
      const body = { kind: 'revoke-lease', id: request.ID } as const;
      const revoked = accepted(await context.access.propose({ body, ...identityOf(call) }), 'lease-revoked');
      return { header: responseHeader(context, revoked.revision) };
    }),
    leaseKeepAlive: (stream) => {
      stream.on('data', (request: LeaseKeepAliveRequest) => void keepAlive(context, stream, request));
      stream.on('end', () => stream.end());
      stream.on('error', () => {}); // the client went away: nothing is kept for it
    },
    leaseTimeToLive: unary((request) => timeToLive(context, request.ID, request.keys ? 'with-keys' : 'alone')),
    leaseLeases: unary(async (): Promise<LeaseLeasesResponse> => {
      await context.access.readBarrier();
      const leases = context.access.state.leases.all().map(({ id }) => ({ ID: id }));
      return { header: responseHeader(context), leases };
    }),
  };
}

/** Who asks for none gets etcd's shortest: two seconds. */
function toTtlMs(seconds: number): number {
  const ttlMs = (seconds > 0 ? seconds : TTL_SECONDS_MIN) * 1000;
  if (ttlMs <= LEASE_TTL_MS_MAX) return ttlMs;
  const limit = LEASE_TTL_MS_MAX / 1000;
  throw new MetaError('TTL_TOO_LARGE', `A lease of ${seconds} s cannot be granted; the limit is ${limit} s.`);
}

/** A lease that is gone is an answer with a ttl of 0; anything else that fails ends the stream. */
async function keepAlive(
  context: ServiceContext,
  stream: ServerDuplexStream<LeaseKeepAliveRequest, LeaseKeepAliveResponse>,
  { ID }: LeaseKeepAliveRequest,
): Promise<void> {
  try {
    const ttlMs = await ttlAfterKeepAlive(context, ID);
    stream.write({ header: responseHeader(context), ID, TTL: Math.floor(ttlMs / 1000) });
  } catch (error) {
    stream.emit('error', toRpcFailure(error));
  }
}

async function ttlAfterKeepAlive(context: ServiceContext, id: string): Promise<number> {
  try {
    return (await context.access.keepLeaseAlive(id)).ttlMs;
  } catch (error) {
    if (error instanceof MetaError && error.code === 'LEASE_NOT_FOUND') return 0;
    throw error;
  }
}

async function timeToLive(
  context: ServiceContext,
  id: string,
  extent: 'alone' | 'with-keys',
): Promise<LeaseTimeToLiveResponse> {
  try {
    const { remainingMs } = await context.access.leaseRemaining(id);
    const { leases } = context.access.state;
    const keys = extent === 'with-keys' ? leases.keysOf(id).map(keyToBytes) : [];
    return {
      header: responseHeader(context),
      ID: id,
      TTL: Math.floor(remainingMs / 1000),
      grantedTTL: (leases.get(id)?.ttlMs ?? 0) / 1000,
      keys,
    };
  } catch (error) {
    if (!(error instanceof MetaError) || error.code !== 'LEASE_NOT_FOUND') throw error;
    return { header: responseHeader(context), ID: id, TTL: -1, grantedTTL: 0, keys: [] };
  }
}
