// The leader's side of replication: what is sent to whom, and what is committed.
//
// Invariants:
//   L1. A leader never changes an entry of its log, it only adds (Raft §5.3, leader append-only).
//   L2. Only an entry of the leader's own term is committed by counting; those before it follow (Raft §5.4.2).
//   L3. The leader counts itself only as far as its own disk has confirmed, and only while it is a voter.

import { assert } from '@robustmq/stdx/assert';
import type { Progress } from './progress.js';
import { quorumReached } from './quorum/joint.js';
import { entryBytes, totalBytes } from './raft-log.js';
import type { Leader, RaftState } from './raft-state.js';
import type { Entry, EntryKind, LogIndex, NodeId } from './types.js';

export interface OwnEntries {
  readonly kind: EntryKind;
  readonly payloads: readonly Buffer[];
}

/** Adds to the leader's own log; the followers get it with the next Ready. Returns the first new index. */
export function appendOwn(state: RaftState, leader: Leader, own: OwnEntries): LogIndex {
  const firstIndex = state.log.lastIndex + 1;
  const { term } = state;
  const entries = own.payloads.map((payload, i): Entry => ({ index: firstIndex + i, term, kind: own.kind, payload }));
  state.log.append(entries); // L1
  leader.uncommittedBytes += totalBytes(entries);
  return firstIndex;
}

/** True when the commit index moved. */
export function advanceCommit(state: RaftState, leader: Leader): boolean {
  const { log, id } = state;
  const reached = quorumReached(state.membership, (voter) =>
    voter === id ? log.durableIndex : (leader.peers.get(voter)?.match ?? 0),
  ); // L3
  if (reached <= log.commitIndex || log.termAt(reached) !== state.term) return false; // L2
  for (let index = Math.max(log.commitIndex + 1, leader.firstIndex); index <= reached; index++) {
    const entry = log.entryAt(index);
    assert(entry, 'what is committed now was not compacted before');
    leader.uncommittedBytes -= entryBytes(entry);
  }
  assert(leader.uncommittedBytes >= 0, 'what is committed was counted when it was proposed');
  log.commitTo(reached);
  return true;
}

/** Everything that may be sent now, to everybody. */
export function sendAppends(state: RaftState, leader: Leader): void {
  for (const [peer, progress] of leader.peers) {
    while (sendAppend(state, peer, progress));
  }
}

/** One request. False when there was nothing to send, or nothing more may be sent for now. */
function sendAppend(state: RaftState, peer: NodeId, progress: Progress): boolean {
  if (progress.isPaused) return false;
  const { log } = state;
  const previousIndex = progress.next - 1;
  const previousTerm = log.termAt(previousIndex);
  if (previousTerm === undefined) return sendSnapshot(state, peer, progress);
  const entries = nextEntries(state, progress);
  const told = Math.min(log.commitIndex, previousIndex + entries.length);
  if (entries.length === 0 && !progress.probeDue && told <= progress.sentCommit) return false;
  state.send({
    type: 'append-request',
    from: state.id,
    to: peer,
    term: state.term,
    previous: { index: previousIndex, term: previousTerm },
    entries,
    commitIndex: log.commitIndex,
  });
  progress.sent(entries.length, totalBytes(entries), told);
  return entries.length > 0;
}

function nextEntries(state: RaftState, progress: Progress): readonly Entry[] {
  const { log } = state;
  if (progress.next > log.lastIndex) return [];
  if (progress.state.kind === 'replicate' && progress.state.inflights.isFull) return [];
  return log.slice(progress.next, log.lastIndex, state.config.appendBytesMax);
}

function sendSnapshot(state: RaftState, peer: NodeId, progress: Progress): false {
  // A state is large: not for a peer that may not be there.
  if (!progress.recentlyActive) return false;
  const { log } = state;
  const index = log.appliedIndex;
  const term = log.termAt(index);
  assert(term !== undefined, 'what is applied last is never compacted away from its term');
  state.send({
    type: 'install-snapshot',
    from: state.id,
    to: peer,
    term: state.term,
    snapshot: { index, term, membership: state.membership },
  });
  progress.becomeSnapshot(index);
  return false;
}

export function sendHeartbeats(state: RaftState, leader: Leader): void {
  const readToken = leader.reads.tokenToConfirm;
  for (const [peer, progress] of leader.peers) {
    state.send({
      type: 'heartbeat',
      from: state.id,
      to: peer,
      term: state.term,
      commitIndex: Math.min(state.log.commitIndex, progress.match),
      readToken,
    });
  }
}
