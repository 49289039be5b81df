// What is on its way to the client of a durable session, and how far each has come.
//
// Invariants:
//   I1. At QoS 2 the packet id is in the session log before the PUBLISH leaves, and PUBREC before PUBREL leaves:
//       a restart then resends with the same id what the client may have, and never what it has released.
//   I2. Messages leave in the order of the log, also where one waits for the session log (P4 of publish-path.ts).
//   I3. What the session log could not take is tried again with the next connection; the one that failed is closed.

import type { PublishFrame } from '../codec/publish-frame.js';
import type { KeptMessage } from '../session/session-log-entry.js';
import { OffsetSets } from './offset-sets.js';
import type { OutgoingMessage } from './outgoing-message.js';
import type { Grant, Lease, StoredAt } from './session-delivery.js';

export type OutboundStep = 'sent' | 'received' | 'completed';

/** What becomes of a step: one of the two is called. */
export interface StepOutcome {
  readonly then: () => void;
  readonly failed: () => void;
}

export interface Inflight {
  readonly packetId: number;
  readonly qos: 1 | 2;
  /** Undefined for a message that is not in a message shard (a retained one): then `message` holds it. */
  readonly at: StoredAt | undefined;
  readonly message: OutgoingMessage | undefined;
  /** How to shape it again; undefined when it was read back after a restart: asked again then. */
  readonly grant: Grant | undefined;
  readonly lease: Lease | undefined;
  /** unsent → sent → releasing → released; `unsent` and `releasing` wait for the session log (I1). */
  stage: 'unsent' | 'sent' | 'releasing' | 'released';
  /** `failed`: the session log could not take what the stage waits for (I3). */
  step: 'fine' | 'failed';
}

/** What a restart brings back of one QoS 2 delivery. */
export interface RestoredDelivery {
  readonly packetId: number;
  readonly at: StoredAt;
  readonly stage: 'sent' | 'released';
}

export interface DurableInflightDeps {
  /** Writes a step to the session log; when it cannot be kept the client is disconnected. */
  readonly note: (
    step: { readonly kind: OutboundStep; readonly packetId: number; readonly at: StoredAt },
    outcome?: StepOutcome,
  ) => void;
  /** The packet id is kept: the PUBLISH may leave, or be sent again. */
  readonly onUnsentKept: (entry: Inflight) => void;
  /** PUBREC is kept: PUBREL may leave. */
  readonly onReleased: (entry: Inflight) => void;
}

/** A message on its way to the outbox, behind a QoS 2 message that waits for the session log (I2). */
interface Outgoing {
  readonly entry: Inflight;
  readonly frame: PublishFrame;
}

export class DurableInflight {
  readonly #deps: DurableInflightDeps;
  /** By packet id, in the order of sending; PUBREC moves an entry to the back. */
  readonly #entries = new Map<number, Inflight>();
  /** QoS 2 messages at or above the committed cursor that the client has: a restart must not deliver them again. */
  readonly #done = new OffsetSets();
  /** What was in flight before a restart, and is not to be read again. */
  readonly #restored = new OffsetSets();
  /** Empty but while a QoS 2 message waits for the session log. */
  #outgoing: Outgoing[] = [];

  constructor(
    deps: DurableInflightDeps,
    from: { readonly deliveries: readonly RestoredDelivery[]; readonly done: readonly StoredAt[] },
  ) {
    this.#deps = deps;
    for (const at of from.done) this.#done.add(at);
    for (const { packetId, at, stage } of from.deliveries) {
      const unknown = { message: undefined, grant: undefined, lease: undefined };
      this.#entries.set(packetId, { packetId, qos: 2, at, ...unknown, stage, step: 'fine' });
      this.#restored.add(at);
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  values(): IterableIterator<Inflight> {
    return this.#entries.values();
  }

  get(packetId: number): Inflight | undefined {
    return this.#entries.get(packetId);
  }

  /** A message of the log that is in flight since before a restart, or that the client has. */
  isKnown(at: StoredAt): boolean {
    return this.#done.has(at) || this.#restored.has(at);
  }

  add(entry: Inflight): void {
    this.#entries.set(entry.packetId, entry);
  }

  /** `now` when the frame may be written at once; otherwise it is written in its turn (I2). */
  lineUp(entry: Inflight, frame: PublishFrame): 'now' | 'later' {
    if (entry.qos === 1 && this.#outgoing.length === 0) return 'now';
    this.#outgoing.push({ entry, frame });
    if (entry.qos === 2) this.noteStage(entry);
    return 'later';
  }

  /** Frames whose turn has come. */
  *takeOutgoing(): Generator<Outgoing> {
    for (let next = this.#outgoing[0]; next !== undefined && next.entry.stage !== 'unsent'; next = this.#outgoing[0]) {
      this.#outgoing.shift();
      yield next;
    }
  }

  /** The connection is gone: what was to be sent is in flight, and a resume sends it. */
  clearOutgoing(): void {
    this.#outgoing = [];
  }

  /** PUBREC came. */
  release(entry: Inflight): void {
    entry.stage = 'releasing';
    this.#entries.delete(entry.packetId); // to the back: PUBRELs are repeated in the order of PUBRECs [MQTT-4.6.0-4]
    this.#entries.set(entry.packetId, entry);
    this.noteStage(entry);
    if (isInLog(entry)) this.#done.add(entry.at);
  }

  /** The handshake of QoS 2 is over. */
  complete(entry: Inflight): void {
    if (entry.qos !== 2 || !isInLog(entry)) return;
    this.#deps.note({ kind: 'completed', packetId: entry.packetId, at: entry.at });
    this.#done.add(entry.at);
  }

  remove(packetId: number): Inflight | undefined {
    const entry = this.#entries.get(packetId);
    this.#entries.delete(packetId);
    return entry;
  }

  clear(): void {
    this.#entries.clear();
  }

  /**
   * Writes down what the stage waits for (I1). A message of no message shard is not there after a restart, and so is
   * what is known of it; nor is a lease: nothing is written then.
   */
  noteStage(entry: Inflight): void {
    entry.step = 'fine';
    const { packetId, stage } = entry;
    const then = () => this.#onKept(entry);
    if (!isInLog(entry)) {
      then();
      return;
    }
    const failed = () => {
      entry.step = 'failed'; // I3
    };
    this.#deps.note({ kind: stage === 'unsent' ? 'sent' : 'received', packetId, at: entry.at }, { then, failed });
  }

  /** Lowers cursors to what is still in flight; what is released lies in the session log (I1). */
  lower(cursors: number[]): void {
    for (const entry of this.#entries.values()) {
      if (!isInLog(entry) || entry.stage === 'released') continue;
      const { shard, offset } = entry.at;
      cursors[shard] = Math.min(cursors[shard] ?? offset, offset);
    }
  }

  /** Cursors were committed: what lies below needs no remembering. */
  committed(cursors: readonly number[]): void {
    for (const [shard, cursor] of cursors.entries()) this.#done.dropBelow(shard, cursor);
  }

  /** QoS 2 deliveries as a snapshot of the session log keeps them. */
  *kept(): Generator<KeptMessage> {
    for (const entry of this.#entries.values()) {
      if (entry.qos !== 2 || !isInLog(entry)) continue;
      const isReleased = entry.stage === 'released' || entry.stage === 'releasing';
      yield { kind: isReleased ? 'released' : 'sent', packetId: entry.packetId, at: entry.at };
    }
    for (const at of this.#done.values()) yield { kind: 'done', packetId: 0, at };
  }

  /** Leases whose member is gone. QoS 2 stays with it once it may have been seen [MQTT-4.8.2-4]; the rest moves on. */
  *takeReturnable(): Generator<Inflight & { readonly lease: Lease }> {
    for (const [packetId, entry] of this.#entries) {
      const { lease, stage, qos } = entry;
      if (lease === undefined || stage === 'releasing' || stage === 'released') continue;
      if (stage === 'sent' && qos === 2) continue;
      this.#entries.delete(packetId);
      yield { ...entry, lease };
    }
  }

  #onKept(entry: Inflight): void {
    if (entry.stage === 'unsent') {
      entry.stage = 'sent';
      this.#deps.onUnsentKept(entry);
    } else {
      entry.stage = 'released';
      this.#deps.onReleased(entry);
    }
  }
}

function isInLog(entry: Inflight): entry is Inflight & { readonly at: StoredAt } {
  return entry.at !== undefined && entry.lease === undefined;
}
