// The session log: QoS 2 exactly once, also across a restart of the broker.
//
//   mqtt/<tenant>/session-log   session-log-entry.ts, in the order things happened
//
// Messages are in the message shards and their place is all that is written here. What a client has sent at
// QoS 2 and not released is found by reading the message shards, where its packet id lies with the message:
// the log only says what was released.
//
// Invariants:
//   Q1. A step is kept before the packet that depends on it is sent: PUBLISH after `sent`, PUBREL after
//       `received`, PUBCOMP after `released`.
//   Q2. A snapshot supersedes everything before it, and the log is cut there once the snapshot is kept: a
//       start reads one snapshot, at most so many steps, and the messages since.
//   Q3. Steps of an epoch below the session's first one belong to an ended session of the same client id.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Offset, ShardId, ShardStorage } from '@robustmq/storage-adapter';
import { ReasonCode } from '../codec/reason-codes.js';
import type { StepOutcome } from '../deliver/durable-inflight.js';
import { MessageLog } from '../publish/message-log.js';
import type { Session } from './session.js';
import {
  encodeSnapshotStart,
  encodeState,
  encodeStep,
  type SessionState,
  type SessionStep,
} from './session-log-entry.js';

interface PendingStep {
  readonly session: Session | undefined;
  readonly outcome: StepOutcome | undefined;
}

export interface SessionLogDeps {
  readonly storage: ShardStorage;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Steps after which a snapshot is due (Q2). */
  readonly entriesMax: number;
}

/** Messages are read faster than steps are applied: so many more of them may lie behind a snapshot. */
const MESSAGES_PER_ENTRY = 4;
/** What one append may carry, less the mark that begins the snapshot. */
const STATES_MAX = 65_535;

export class SessionLog {
  readonly #deps: SessionLogDeps;
  readonly #id: ShardId;
  readonly #log: MessageLog<PendingStep>;
  /** Where the newest snapshot begins, and the sum of the message shards' ends it names. */
  #snapshotAt: number;
  #snapshotEnds: number;
  #snapshot: 'idle' | 'running' = 'idle';

  constructor(
    deps: SessionLogDeps,
    from: { readonly id: ShardId; readonly end: Offset; readonly snapshotAt: number; readonly messageEnds: number },
  ) {
    this.#deps = deps;
    this.#id = from.id;
    this.#snapshotAt = from.snapshotAt;
    this.#snapshotEnds = from.messageEnds;
    const handler = {
      onStored: ({ outcome }: PendingStep) => outcome?.then(),
      onRepeated: ({ outcome }: PendingStep) => outcome?.then(),
      onFollowed: ({ outcome }: PendingStep) => outcome?.then(),
      onFailed: (step: PendingStep, error: unknown) => this.#onFailed(step, error),
      onGap: () => {}, // only this node writes it; a failed append that is there after all is applied at a start
    };
    this.#log = new MessageLog({ ...deps, handler }, [{ id: from.id, end: from.end }]);
  }

  /** `outcome.then` runs when the step is kept (Q1). When it cannot be, the client is disconnected and comes back. */
  note(session: Session, step: Omit<SessionStep, 'clientId' | 'epoch'>, outcome?: StepOutcome): void {
    const { clientId, epoch } = session;
    const { kind, packetId, at } = step;
    const payload = encodeStep({ kind, packetId, at, clientId, epoch });
    this.#log.enqueue(0, { payload }, { session, outcome });
  }

  /**
   * Takes a snapshot when enough has happened since the last one. `messageEnds` are the ends of what was handed out
   * of the message shards, and `states` what the sessions hold at this very moment.
   */
  async snapshotIfDue(messageEnds: readonly number[], states: () => Iterable<SessionState>): Promise<void> {
    const { entriesMax } = this.#deps;
    const steps = this.#log.endOf(0) - this.#snapshotAt;
    const messages = sum(messageEnds) - this.#snapshotEnds;
    if (steps < entriesMax && messages < entriesMax * MESSAGES_PER_ENTRY) return;
    if (this.#snapshot === 'running') return;
    this.#snapshot = 'running';
    try {
      await this.#takeSnapshot(messageEnds, [...states()]);
    } catch (error) {
      this.#deps.logger.warn({ error: errorMessage(error) }, 'a snapshot of the session log failed; trying again');
    } finally {
      this.#snapshot = 'idle';
    }
  }

  /** Resolves when every step is kept or has failed. */
  quiet(): Promise<void> {
    return this.#log.quiet();
  }

  async #takeSnapshot(ends: readonly number[], states: readonly SessionState[]): Promise<void> {
    if (states.length > STATES_MAX) {
      this.#deps.logger.warn({ sessions: states.length }, 'too many sessions are in a QoS 2 handshake for a snapshot');
      return;
    }
    const records = [{ payload: encodeSnapshotStart({ kind: 'snapshot', ends }) }];
    for (const state of states) records.push({ payload: encodeState(state) });
    this.#log.flush(0); // steps up to this moment are in the states, and must lie before them
    const { firstOffset } = await this.#deps.storage.append(this.#id, records);
    this.#snapshotAt = firstOffset;
    this.#snapshotEnds = sum(ends);
    await this.#deps.storage.trim(this.#id, firstOffset); // Q2
  }

  #onFailed({ session, outcome }: PendingStep, error: unknown): void {
    outcome?.failed();
    this.#deps.logger.error(
      { error: errorMessage(error), clientId: session?.clientId },
      'the session log could not be written',
    );
    session?.link?.port.disconnect(ReasonCode.implementationSpecificError, 'the session could not be kept');
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
