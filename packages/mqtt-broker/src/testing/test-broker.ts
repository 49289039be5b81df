// A whole broker in one test: real sessions, real packets, no network, and time that stands still until told.

import type { MetaClient } from '@robustmq/meta-raft/client';
import { ManualClock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import { MemoryShardStorage, type ShardStorage } from '@robustmq/storage-adapter';
import type { Broker, BrokerHooks } from '../broker.js';
import type { ProtocolVersion } from '../codec/packets.js';
import type { PeerAddress } from '../connection/transport.js';
import type { BrokerOptions } from '../options.js';
import { startBroker } from '../start-broker.js';
import { type MemoryLink, memoryLink } from './memory-transport.js';
import { type ConnectFields, type Received, TestClient } from './test-client.js';

export interface TestBrokerOptions extends BrokerOptions {
  /** `createMemoryMeta()` of `@robustmq/meta-raft/testing`, for example. */
  readonly meta: MetaClient;
  /** Default: memory, kept across restart(). */
  readonly storage?: ShardStorage;
  readonly hooks?: BrokerHooks;
  readonly logger?: Logger;
}

/** A number of milliseconds, or a text such as `500ms`, `90s`, `10m`, `1h`, `7d`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const QUIET_TURNS = 8;
const TURNS_MAX = 10_000;

export class TestBroker implements AsyncDisposable {
  readonly clock: ManualClock;
  readonly storage: ShardStorage;
  readonly #options: TestBrokerOptions;
  #broker: Broker;
  #clientIds = 0;
  /** Deliveries of links that are under way. */
  #underWay = 0;
  readonly #later = (deliver: () => void): void => {
    this.#underWay++;
    setImmediate(() => {
      this.#underWay--;
      deliver();
    });
  };

  private constructor(parts: {
    readonly options: TestBrokerOptions;
    readonly clock: ManualClock;
    readonly storage: ShardStorage;
    readonly broker: Broker;
  }) {
    this.#options = parts.options;
    this.clock = parts.clock;
    this.storage = parts.storage;
    this.#broker = parts.broker;
  }

  static async start(options: TestBrokerOptions): Promise<TestBroker> {
    const clock = new ManualClock();
    const storage = options.storage ?? new MemoryShardStorage({ clock });
    const broker = await open(options, { clock, storage });
    return new TestBroker({ options, clock, storage, broker });
  }

  get broker(): Broker {
    return this.#broker;
  }

  /** A connection on which nothing was sent yet. */
  open(options: { readonly version?: ProtocolVersion; readonly peer?: PeerAddress } = {}): TestClient {
    return new TestClient(this.openLink(options.peer), options.version ?? 5);
  }

  /** The same without a decoder, for bytes that are not MQTT. */
  openLink(peer?: PeerAddress): MemoryLink {
    const link = memoryLink({ later: this.#later, ...(peer === undefined ? {} : { peer }) });
    this.#broker.accept(link.transport);
    return link;
  }

  /** A client that was let in. Default: MQTT 5, a clean session, a client id of its own. */
  async connect(
    options: ConnectFields & { readonly version?: ProtocolVersion } = {},
  ): Promise<TestClient & { readonly connack: Received<'connack'> }> {
    const { version, ...fields } = options;
    const client = this.open({ version: version ?? 5 });
    const connack = await client.connect({ clientId: `client-${++this.#clientIds}`, ...fields });
    if (connack.reasonCode !== 0) throw new TypeError(`the broker refused: 0x${connack.reasonCode.toString(16)}`);
    return Object.assign(client, { connack });
  }

  /** Resolves when everything that was sent has been handled and answered. */
  async idle(): Promise<void> {
    for (let quiet = 0, turns = 0; quiet < QUIET_TURNS; turns++) {
      if (turns > TURNS_MAX) throw new RangeError(`the broker was still busy after ${TURNS_MAX} turns`);
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.#underWay === 0 ? quiet + 1 : 0;
    }
  }

  /** Lets time pass: keep-alive, session expiry, will delay and message expiry all see it. */
  async advance(duration: Duration): Promise<void> {
    await this.clock.advanceAndSettle(milliseconds(duration));
    await this.idle();
  }

  /** Closes the broker in order and starts it again on the same storage and meta. */
  async restart(): Promise<void> {
    await this.close();
    this.#broker = await open(this.#options, this);
  }

  async close(): Promise<void> {
    const closed = this.#broker.close();
    await this.idle();
    await this.clock.advanceAndSettle(this.#options.limits?.lingerMs ?? 10_000); // clients that read nothing
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function open(
  options: TestBrokerOptions,
  { clock, storage }: { readonly clock: ManualClock; readonly storage: ShardStorage },
): Promise<Broker> {
  const { meta, hooks, logger } = options;
  let assigned = 0;
  return startBroker(
    { sysIntervalMs: 0, ...options },
    {
      storage,
      meta,
      clock,
      newClientId: () => `assigned-${++assigned}`,
      ...(hooks === undefined ? {} : { hooks }),
      ...(logger === undefined ? {} : { logger }),
    },
  );
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function milliseconds(duration: Duration): number {
  if (typeof duration === 'number') return duration;
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration) ?? [];
  if (unit === undefined) throw new RangeError(`"${duration}" is no duration; write 500ms, 90s, 10m, 1h or 7d`);
  return Number(amount) * UNITS[unit as keyof typeof UNITS]; // the expression names no other
}
