// What may be true of a group, at any moment, whatever goes wrong. Knows nothing of how it is achieved.
//
//   O1. Election safety: at most one leader in a term (Raft §5.2).
//   O2. Log matching: logs that agree at a position agree before it (Raft §5.3).
//   O3. Leader completeness: a leader's log holds every entry committed in earlier terms (Raft §5.4).
//   O4. State machine safety: nobody ever applies another command at an index (Raft §5.4.3).
//   O5. What is committed once stays committed, with the same content.
//   O6. A vote and an acknowledged append are on the voter's disk when they are told.
//   O7. A confirmed read index is at or beyond everything committed before the read was asked for.

import { assert } from '@robustmq/stdx/assert';
import type { Entry, LogIndex, Message, NodeId, Term } from '../core/types.js';
import type { RaftPeer } from './raft-peer.js';

interface CommittedEntry {
  readonly term: Term;
  readonly text: string;
}

export class RaftOracle {
  readonly #leaders = new Map<Term, NodeId>();
  readonly #committed: (CommittedEntry | undefined)[] = [];
  readonly #checkedCommit = new Map<NodeId, { readonly raft: unknown; readonly index: LogIndex }>();
  readonly #checkedCommands = new Map<NodeId, number>();
  readonly #expectedReads = new Map<number, LogIndex>();
  #longestState: readonly string[] = [];
  #reads = 0;
  #steps = 0;

  get committed(): number {
    return this.#committed.length;
  }

  get leaders(): number {
    return this.#leaders.size;
  }

  get reads(): number {
    return this.#reads;
  }

  check(peers: ReadonlyMap<NodeId, RaftPeer>): void {
    for (const peer of peers.values()) {
      this.#checkCommitted(peer);
      this.#checkState(peer);
    }
    for (const peer of peers.values()) this.#checkLeader(peer);
    if (++this.#steps % 50 === 0) checkLogsMatch([...peers.values()]);
  }

  expectRead(requestId: number): void {
    this.#expectedReads.set(requestId, this.#committed.length - 1);
  }

  observeReads(peer: RaftPeer): void {
    for (const read of peer.reads.splice(0)) {
      const floor = this.#expectedReads.get(read.requestId);
      if (read.index === undefined || floor === undefined) continue;
      this.#reads++;
      assert(read.index >= floor, `O7: a read at ${read.index} misses what was committed at ${floor}`);
    }
  }

  /** Called when the message leaves its node. */
  observeSent(peer: RaftPeer, message: Message): void {
    const { term, votedFor } = peer.diskHardState;
    if (message.type === 'vote-response' && message.verdict === 'granted') {
      const kept = term > message.term || (term === message.term && votedFor === message.to);
      assert(kept, `O6: node ${peer.id} told a vote that is not on its disk`);
    }
    if (message.type === 'append-response' && message.outcome.result === 'accepted') {
      const { matchIndex } = message.outcome;
      const overtaken = term > message.term;
      assert(overtaken || peer.diskLast.index >= matchIndex, `O6: node ${peer.id} told of entries it may lose`);
    }
  }

  #checkLeader(peer: RaftPeer): void {
    const { raft } = peer;
    if (raft.role.kind !== 'leader') return;
    const known = this.#leaders.get(raft.term);
    assert(known === undefined || known === peer.id, `O1: nodes ${known} and ${peer.id} lead term ${raft.term}`);
    if (known !== undefined) return;
    this.#leaders.set(raft.term, peer.id);
    for (const [index, entry] of this.#committed.entries()) {
      if (!entry || entry.term >= raft.term || index <= raft.log.base.index) continue;
      assert(raft.log.termAt(index) === entry.term, `O3: the leader of term ${raft.term} misses entry ${index}`);
    }
  }

  #checkCommitted(peer: RaftPeer): void {
    const { raft } = peer;
    const checked = this.#checkedCommit.get(peer.id);
    const from = checked?.raft === raft ? checked.index : raft.log.base.index;
    const { commitIndex } = raft.log;
    if (from === commitIndex) return;
    for (let index = Math.max(from, raft.log.base.index) + 1; index <= commitIndex; index++) {
      const entry = raft.log.entryAt(index);
      assert(entry, 'what is committed is kept or compacted');
      const text = textOf(entry);
      const known = this.#committed[index];
      assert(
        !known || (known.term === entry.term && known.text === text),
        `O5: entry ${index} is not what was committed`,
      );
      this.#committed[index] = { term: entry.term, text };
    }
    this.#checkedCommit.set(peer.id, { raft, index: commitIndex });
  }

  #checkState(peer: RaftPeer): void {
    const { commands } = peer.state;
    if (this.#checkedCommands.get(peer.id) === commands.length) return;
    this.#checkedCommands.set(peer.id, commands.length);
    const shared = Math.min(commands.length, this.#longestState.length);
    for (let i = Math.max(0, shared - 64); i < shared; i++) {
      assert(
        commands[i] === this.#longestState[i],
        `O4: node ${peer.id} applied ${commands[i]}, not ${this.#longestState[i]}`,
      );
    }
    if (commands.length > this.#longestState.length) this.#longestState = commands;
  }
}

function checkLogsMatch(peers: readonly RaftPeer[]): void {
  for (const [i, a] of peers.entries()) {
    for (const b of peers.slice(i + 1)) checkLogsOfTwo(a, b);
  }
}

function checkLogsOfTwo(a: RaftPeer, b: RaftPeer): void {
  const first = Math.max(a.raft.log.firstIndex, b.raft.log.firstIndex);
  let agreed = false;
  for (let index = Math.min(a.raft.log.lastIndex, b.raft.log.lastIndex); index >= first; index--) {
    const ours = a.raft.log.entryAt(index);
    const theirs = b.raft.log.entryAt(index);
    assert(ours && theirs, 'both logs reach here');
    const same = ours.term === theirs.term;
    assert(same || !agreed, `O2: the logs of ${a.id} and ${b.id} agree after ${index} but not there`);
    if (same) assert(textOf(ours) === textOf(theirs), `O2: one position, two entries (${index}/${ours.term})`);
    agreed = agreed || same;
  }
}

function textOf(entry: Entry): string {
  return `${entry.kind} ${entry.payload.toString('latin1')}`;
}
