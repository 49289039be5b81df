import type { ServerWritableStream } from '@grpc/grpc-js';
import { crc32 } from '@robustmq/stdx/crc32';
import { toRpcFailure } from '../client/rpc-status.js';
import { MetaError } from '../errors.js';
import type {
  HashKVResponse,
  MaintenanceServer,
  SnapshotRequest,
  SnapshotResponse,
  StatusResponse,
} from '../gen/etcdserverpb/rpc.js';
import { keyFromText, prefixRange } from '../state/key-range.js';
import { type Draft, encodeVersion, type Version } from '../state/record.js';
import { responseHeader, type ServiceContext } from './service-context.js';
import { unary } from './unary.js';

/** The etcd API this service speaks, which is what clients ask the version for. */
const API_VERSION = '3.5.0';

/** etcdserverpb.Maintenance, as far as it can be served without changing anything. */
export function createMaintenanceService(context: ServiceContext): MaintenanceServer {
  return {
    status: unary(async () => statusOf(context)),
    hashKv: unary(async ({ revision }) => hashOf(context, revision)),
    hash: unary(async () => ({ header: responseHeader(context), hash: hashOf(context, 0).hash })),
    moveLeader: unary(async ({ targetID }) => {
      const { leader, memberId, members } = context.view();
      if (leader !== memberId) throw new MetaError('NOT_LEADER', 'Only the leader hands leadership over. Ask it.');
      if (!members.some(({ id, role }) => id === Number(targetID) && role === 'voter')) {
        throw new MetaError('BAD_TRANSFEREE', `Node ${targetID} is no voting member, so that it cannot lead.`);
      }
      await context.transferLeadership(Number(targetID));
      return { header: responseHeader(context) };
    }),
    alarm: unary(async () => ({ header: responseHeader(context), alarms: [] })),
    defragment: unary(async () => ({ header: responseHeader(context) })), // LevelDB compacts by itself
    snapshot: (call: ServerWritableStream<SnapshotRequest, SnapshotResponse>) => {
      const error = new MetaError(
        'NOT_SUPPORTED',
        'Snapshots are not handed out yet. Copy the data directory of a stopped node.',
      );
      call.emit('error', toRpcFailure(error));
    },
  };
}

function statusOf(context: ServiceContext): StatusResponse {
  const view = context.view();
  const { memberId } = view;
  return {
    header: responseHeader(context),
    version: API_VERSION,
    dbSize: 0,
    dbSizeInUse: 0,
    leader: String(view.leader ?? 0),
    raftIndex: view.commitIndex,
    raftTerm: view.term,
    raftAppliedIndex: view.appliedIndex,
    errors: view.leader === undefined ? ['etcdserver: no leader'] : [],
    isLearner: view.members.some((member) => member.id === memberId && member.role === 'learner'),
  };
}

/** Over all keys as of a revision, in order: equal on members with equal keys. Not the number a real etcd would give. */
function hashOf(context: ServiceContext, asked: number): HashKVResponse {
  const { versions } = context.access.state;
  const revision = asked > 0 ? asked : versions.revision;
  const query = { range: prefixRange(keyFromText('')), revision, limit: 1, returns: 'count' } as const;
  const readable = context.access.state.range(query);
  if ('kind' in readable) throw new MetaError(readable.code, readable.message);
  let hash = 0;
  versions.walk(query.range, revision, (version) => {
    const draft: Draft<Version> = version;
    hash = crc32(encodeVersion(draft).bytes, hash);
    return 'go-on';
  });
  const header = responseHeader(context);
  return { header, hash, compactRevision: versions.compactedRevision, hashRevision: revision };
}
