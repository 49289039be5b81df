import type { PacketReader } from '@robustmq/mqtt-broker/client';
import { type LoadPlan, topicFilterOf } from './load-plan.js';
import { type LinkDeps, type LinkReceiver, MqttLink } from './mqtt-link.js';
import { dueMsOf, isMarked, markOf, publisherOf, sequenceOf } from './payload.js';
import type { Publisher } from './publisher.js';
import type { SequenceAudit } from './sequence-audit.js';
import type { Tally } from './tally.js';

export interface SubscriberOwner {
  onReady(): void;
  /** Messages came; publishers may have room again. */
  onRoom(): void;
  onClosed(reason: string): void;
}

interface SubscriberDeps extends LinkDeps {
  readonly plan: LoadPlan;
  readonly tally: Tally;
  readonly audit: SequenceAudit;
  readonly owner: SubscriberOwner;
  /** Those of this process, to credit deliveries to; empty when they are elsewhere. */
  readonly publishers: readonly Publisher[];
  /** Added to clock.now() to give the machine's monotonic clock. */
  readonly originMs: number;
}

/** How many streams (a publisher as a subscriber sees it) a plan has; SequenceAudit numbers them from 0. */
export function streamsOf({ topology, publishers, subscribers }: LoadPlan): number {
  if (topology === 'pairwise') return subscribers;
  return topology === 'shared' ? publishers : publishers * subscribers;
}

/** One subscribing client. */
export class Subscriber implements LinkReceiver {
  readonly #deps: SubscriberDeps;
  readonly #number: number;
  readonly #mark: number;
  readonly #topology: LoadPlan['topology'];
  readonly #publisherCount: number;
  readonly link: MqttLink;
  readonly clientId: string;

  constructor(number: number, deps: SubscriberDeps) {
    const { plan } = deps;
    this.#deps = deps;
    this.#number = number;
    this.#mark = markOf(plan.run);
    this.#topology = plan.topology;
    this.#publisherCount = plan.publishers;
    this.clientId = `${plan.prefix}-${plan.run}-s${number}`;
    const introduction = {
      clientId: this.clientId,
      session: plan.session,
      subscription: { topicFilter: topicFilterOf(plan, number), qos: plan.qos },
    };
    this.link = new MqttLink(introduction, this, deps);
  }

  onReady(): void {
    this.#deps.owner.onReady();
  }

  onMessage(reader: PacketReader): void {
    const { tally, audit, publishers, originMs } = this.#deps;
    const { buffer, at } = reader;
    tally.received++;
    const stream = isMarked(buffer, reader, this.#mark) ? this.#streamOf(publisherOf(buffer, at)) : -1;
    if (stream < 0) {
      tally.foreign++;
      return;
    }
    if (audit.record(stream, sequenceOf(buffer, at)) === 'repeated') return;
    const publisher = publishers[publisherOf(buffer, at)];
    if (publisher !== undefined) publisher.delivered++;
    if (tally.measuring) tally.latency.record((this.link.nowMs + originMs - dueMsOf(buffer, at)) * 1000);
  }

  onChunkEnd(): void {
    this.#deps.tally.lastReceivedMs = this.link.nowMs;
    this.#deps.owner.onRoom();
  }

  onAcked(): void {
    this.#deps.tally.errors++; // it publishes nothing
  }

  onDrain(): void {
    // acknowledgements have left; nothing waits for that
  }

  onClosed(reason: string): void {
    this.#deps.owner.onClosed(reason);
  }

  /** -1 for a publisher whose messages do not belong here. */
  #streamOf(publisher: number): number {
    if (this.#topology === 'pairwise') return publisher === this.#number ? publisher : -1;
    if (publisher >= this.#publisherCount) return -1;
    return this.#topology === 'shared' ? publisher : this.#number * this.#publisherCount + publisher;
  }
}
