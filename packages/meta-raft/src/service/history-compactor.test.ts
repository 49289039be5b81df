import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { nullLogger } from '@robustmq/stdx/logger';
import type { Leadership, Replication } from '../driver/replication.js';
import { MetaError } from '../errors.js';
import type { CommandResult } from '../state/command.js';
import { encodeCommand } from '../state/command-codec.js';
import { keyFromText } from '../state/key-range.js';
import { MetaState } from '../state/meta-state.js';
import { HistoryCompactor } from './history-compactor.js';

/** A group of one that applies what is proposed, while it leads. */
class LoneGroup {
  readonly state = new MetaState();
  readonly compactions: number[] = [];
  #index = 0;
  #leadership: Leadership = { role: 'follower', term: 1, leader: undefined };
  #listener: (leadership: Leadership) => void = () => {};

  readonly replication = {
    onLeadership: (listener: (leadership: Leadership) => void) => {
      this.#listener = listener;
      listener(this.#leadership);
      return () => {};
    },
    propose: async (payload: Buffer, { onlyInTerm }: { onlyInTerm?: number } = {}) => {
      if (this.#leadership.role !== 'leader' || onlyInTerm !== this.#leadership.term) {
        throw new MetaError('NOT_LEADER', 'not this term');
      }
      const result = this.state.apply(payload, ++this.#index);
      if (result.kind === 'compacted') this.compactions.push(this.state.versions.compactedRevision);
      return result;
    },
  } as unknown as Replication<CommandResult>; // what the compactor uses of it

  lead(leadership: Leadership): void {
    this.#leadership = leadership;
    this.#listener(leadership);
  }

  put(times: number): void {
    const operation = {
      op: 'put',
      key: keyFromText('k'),
      value: Buffer.from('v'),
      lease: undefined,
      returns: 'nothing',
    } as const;
    const body = { kind: 'transact', when: [], then: [operation], otherwise: [] } as const;
    const payload = encodeCommand({ timeMs: 1, identity: undefined, body });
    for (let i = 0; i < times; i++) this.state.apply(payload, ++this.#index);
  }
}

function start(revisionsMax: number) {
  const group = new LoneGroup();
  const clock = new ManualClock();
  const compactor = new HistoryCompactor(
    { keepMs: 600_000, revisionsMax },
    { replication: group.replication, versions: () => group.state.versions, clock, logger: nullLogger },
  );
  return { group, clock, compactor };
}

describe('HistoryCompactor', () => {
  it('forgets what is older than it is to be kept, on the leader only', async () => {
    const { group, clock, compactor } = start(1_000_000);
    group.put(100);
    await clock.advanceAndSettle(700_000);
    expect(group.compactions).toEqual([]);
    group.lead({ role: 'leader', term: 2 });
    group.put(50);
    await clock.advanceAndSettle(60_000);
    expect(group.compactions).toEqual([101]); // what was there ten minutes ago, and nothing younger
    await clock.advanceAndSettle(600_000);
    expect(group.state.versions.compactedRevision).toBe(151);
    compactor.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps no more revisions than it may, and forgets many in several commands', async () => {
    const { group, clock, compactor } = start(1_000);
    group.lead({ role: 'leader', term: 2 });
    group.put(13_000);
    await clock.advanceAndSettle(60_000);
    expect(group.compactions).toEqual([5_000, 10_000, 12_001]);
    compactor.close();
  });
});
