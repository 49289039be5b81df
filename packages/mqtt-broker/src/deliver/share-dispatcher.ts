// Shared subscriptions: each message of a group goes to one of its members. (MQTT5 §4.8.2)
//
//   H1. A member that has no room, or no connection, is passed over; when all are, the message waits in the
//       group's backlog, and the next member with room goes on with it.
//   H2. A QoS 1 message whose member lost its connection goes to another; a QoS 2 message stays with its
//       member [MQTT-4.8.2-4] and dies with its session [MQTT-4.8.2-5]. One that a member refused is done.
//       [MQTT-4.8.2-6]

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { ResolvedEngineOptions } from '../engine-options.js';
import { topicMatches } from '../route/topic-filter.js';
import type { Session } from '../session/session.js';
import type { SharedGroup, SharedSubscription } from '../share/shared-group.js';
import type { DeliveryStats } from './delivery-stats.js';
import { lowerQoS } from './lower-qos.js';
import type { MessageReader } from './message-reader.js';
import type { OutgoingMessage } from './outgoing-message.js';
import type { Grant, Lease, LeaseOwner, StoredAt } from './session-delivery.js';
import { ShareBacklog, type WaitingMessage } from './share-backlog.js';

export interface ShareDispatcherDeps {
  readonly options: ResolvedEngineOptions;
  readonly stats: DeliveryStats;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly reader: MessageReader;
  readonly endOf: (shard: number) => number;
  readonly onProgress: (backlog: ShareBacklog) => void;
}

const PAGE_RECORDS = 256;
const READ_RETRY_MS = 1000;
/** Pages in one turn, so that a long backlog does not hold the loop. */
const STEPS_PER_TURN = 8;

export class ShareDispatcher {
  readonly #deps: ShareDispatcherDeps;
  readonly #backlogs = new Map<string, ShareBacklog>();
  /** Backlogs with something to hand out: who has room looks here. */
  readonly #working = new Set<ShareBacklog>();
  #retry: Timer | undefined;

  constructor(deps: ShareDispatcherDeps) {
    this.#deps = deps;
  }

  backlogs(): Iterable<ShareBacklog> {
    return this.#backlogs.values();
  }

  /** The backlog of a group, made when it is first asked for. */
  backlogOf(group: SharedGroup<Session>): ShareBacklog {
    const key = backlogKey(group);
    const known = this.#backlogs.get(key);
    if (known !== undefined) {
      known.group = group;
      return known;
    }
    const { options, endOf } = this.#deps;
    const backlog = new ShareBacklog(group, { ...options, endOf });
    this.#backlogs.set(key, backlog);
    return backlog;
  }

  /** The last member has gone. */
  forget(name: { readonly group: string; readonly filter: string }): ShareBacklog | undefined {
    const backlog = this.#backlogs.get(backlogKey(name));
    if (backlog === undefined) return undefined;
    this.#backlogs.delete(backlogKey(name));
    this.#working.delete(backlog);
    return backlog;
  }

  dispatch(message: OutgoingMessage, group: SharedGroup<Session>, at: StoredAt | undefined): void {
    const backlog = this.backlogOf(group);
    if (at !== undefined && !backlog.isLive(at.shard)) return; // it will be read
    const stored = backlog.isDurable ? at : undefined;
    const busy = backlog.returned.length > 0 || backlog.waiting.length > 0; // B2 of share-backlog.ts
    if (message.qos === 0 || (!busy && this.#handOut(backlog, { message, at: stored }) === 'taken')) {
      if (message.qos === 0) this.#handOut(backlog, { message, at: undefined });
      return;
    }
    this.#wait(backlog, { message, at: stored });
  }

  /** A member has room or a connection again. Called for every ack: cheap when nothing waits. */
  onRoom(): void {
    if (this.#working.size === 0) return;
    for (const backlog of [...this.#working]) this.#pump(backlog);
  }

  /** Records appeared in a shard that were never handed out. */
  onGap(shard: number, from: number): void {
    for (const backlog of this.#backlogs.values()) {
      if (!backlog.isDurable || !backlog.isLive(shard)) continue;
      backlog.fallBehind({ shard, offset: from });
      this.#working.add(backlog);
    }
    this.onRoom();
  }

  close(): void {
    this.#retry?.cancel();
    this.#working.clear();
  }

  /** A backlog that was given positions may have messages to read. */
  wake(backlog: ShareBacklog): void {
    if (!backlog.hasWork) return;
    this.#working.add(backlog);
    this.#pump(backlog);
  }

  #wait(backlog: ShareBacklog, waiting: WaitingMessage): void {
    if (waiting.at !== undefined) backlog.fallBehind(waiting.at);
    else if (this.#deps.options.queuedMessagesMax === 0 || backlog.waiting.isFull) {
      this.#deps.stats.droppedQueueFull++;
      return;
    } else {
      waiting.message.own();
      backlog.waiting.push(waiting);
    }
    this.#working.add(backlog);
  }

  /** H1. */
  #handOut(backlog: ShareBacklog, waiting: WaitingMessage): 'taken' | 'refused' {
    const { message } = waiting;
    const tried = new Set<Session>();
    for (let left = backlog.group.members.length; left > 0; left--) {
      const member = backlog.group.pick(message, tried);
      if (member === undefined) return 'refused';
      if (this.#offer(backlog, { member, waiting }) === 'taken') return 'taken';
      tried.add(member.session);
    }
    return 'refused';
  }

  #offer(
    backlog: ShareBacklog,
    { member, waiting }: { readonly member: SharedSubscription<Session>; readonly waiting: WaitingMessage },
  ): 'taken' | 'refused' {
    const { session, qos, retainAsPublished, subscriptionIdentifier } = member;
    const { message, at } = waiting;
    const subscriptionIdentifiers = subscriptionIdentifier === undefined ? undefined : [subscriptionIdentifier];
    const grant: Grant = { qos, retainAsPublished, subscriptionIdentifiers };
    if (lowerQoS(message.qos, qos) === 0) return this.#sendQoS0(session, message, grant);
    backlog.lease(at);
    const outcome = session.delivery.deliverLease({ owner: this.#ownerFor(backlog), message, grant, at });
    if (outcome === 'refused') backlog.settle(at);
    return outcome;
  }

  #sendQoS0(session: Session, message: OutgoingMessage, grant: Grant): 'taken' | 'refused' {
    const port = session.link?.port;
    if (port === undefined || port.congested) return 'refused';
    const { version } = port;
    const identifiers = version === 5 ? grant.subscriptionIdentifiers : undefined;
    const frame = message.frame({ version, qos: 0, retain: message.retain && grant.retainAsPublished, identifiers });
    if (frame.bytes > port.maximumPacketSize) this.#deps.stats.droppedTooLarge++;
    else {
      port.outbox.writeFrame(frame, 0);
      this.#deps.stats.delivered++;
    }
    return 'taken';
  }

  #ownerFor(backlog: ShareBacklog): LeaseOwner {
    return {
      settled: (at) => {
        backlog.settle(at);
        if (at !== undefined) this.#deps.onProgress(backlog);
      },
      returned: ({ message, at }: Lease) => {
        backlog.returned.push({ message, at }); // H2; stays leased, so that the cursor stays below it (B1)
        this.#working.add(backlog);
        this.#deps.clock.setImmediate(() => this.#pump(backlog)); // after all that this member gives back
      },
    };
  }

  #pump(backlog: ShareBacklog): void {
    if (backlog.state === 'pumping' || !this.#working.has(backlog)) return;
    if (!backlog.group.members.some(({ session }) => session.canTakeMessage)) return;
    backlog.state = 'pumping';
    this.#run(backlog).then(
      () => {
        backlog.state = 'idle';
      },
      (error: unknown) => {
        backlog.state = 'idle';
        this.#deps.logger.warn(
          { error: errorMessage(error) },
          'reading the log for a share group failed; trying again',
        );
        this.#retry = this.#deps.clock.setTimer(READ_RETRY_MS, () => this.onRoom());
      },
    );
  }

  async #run(backlog: ShareBacklog): Promise<void> {
    for (let steps = 1; this.#working.has(backlog); steps++) {
      if (steps % STEPS_PER_TURN === 0) await new Promise<void>((resolve) => this.#deps.clock.setImmediate(resolve));
      if (this.#handOutFrom(backlog.returned, backlog) === 'refused') return;
      for (let next = backlog.waiting.peek(); next !== undefined; next = backlog.waiting.peek()) {
        if (this.#handOut(backlog, next) === 'refused') return;
        backlog.waiting.shift();
      }
      const behind = backlog.behind();
      if (behind !== undefined && (await this.#readOn(backlog, behind)) === 'refused') return;
      if (!backlog.hasWork) this.#working.delete(backlog);
    }
  }

  #handOutFrom(returned: WaitingMessage[], backlog: ShareBacklog): 'taken' | 'refused' {
    for (let next = returned[0]; next !== undefined; next = returned[0]) {
      if (this.#handOut(backlog, next) === 'refused') {
        backlog.lease(next.at); // still out of the log's hands (B1)
        return 'refused';
      }
      returned.shift();
    }
    return 'taken';
  }

  async #readOn(backlog: ShareBacklog, from: StoredAt): Promise<'taken' | 'refused'> {
    const { reader, endOf, clock, stats } = this.#deps;
    const { shard } = from;
    const page = await reader.read(shard, { from: from.offset, maxRecords: PAGE_RECORDS });
    if (backlog.isLive(shard)) return 'taken'; // it is not durable any more
    const end = endOf(shard);
    const nowMs = clock.wallTime();
    for (const { offset, message } of page.messages) {
      if (offset >= end) break; // kept, but not handed out yet: it will be dispatched
      if (message.qos > 0 && topicMatches(backlog.name.filter, message.topicName)) {
        if (message.isExpiredAt(nowMs)) stats.droppedExpired++;
        else {
          message.ageTo(nowMs);
          if (this.#handOut(backlog, { message, at: { shard, offset } }) === 'refused') {
            backlog.moveTo({ shard, offset });
            return 'refused';
          }
        }
      }
      backlog.moveTo({ shard, offset: offset + 1 });
    }
    backlog.moveTo({ shard, offset: Math.min(page.next, end) });
    backlog.goLive(shard);
    return 'taken';
  }
}

function backlogKey({ group, filter }: { readonly group: string; readonly filter: string }): string {
  return `${group}/${filter}`; // a group holds no slash
}
