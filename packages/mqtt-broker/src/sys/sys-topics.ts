// `$SYS` topics with the names other brokers have taught everybody, for whoever watches a broker over MQTT.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { BrokerNumbers } from '../metrics.js';
import type { LocalMessage } from '../session/session-port.js';

export interface SysTopicsDeps {
  readonly numbers: BrokerNumbers;
  readonly publish: (message: LocalMessage) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  readonly intervalMs: number;
}

/** Publishes all topics at start and then at the interval. Not retained: a reading is worth no write to disk. */
export class SysTopics {
  readonly #deps: SysTopicsDeps;
  readonly #startMs: number;
  #timer: Timer | undefined;
  #state: 'open' | 'closed' = 'open';
  #clientsMaximum = 0;

  constructor(deps: SysTopicsDeps) {
    this.#deps = deps;
    this.#startMs = deps.clock.now();
  }

  start(): void {
    if (this.#deps.intervalMs === 0) return;
    this.#round();
  }

  close(): void {
    this.#state = 'closed';
    this.#timer?.cancel();
  }

  #round(): void {
    if (this.#state === 'closed') return;
    this.#publish(this.#readings());
    this.#timer = this.#deps.clock.setTimer(this.#deps.intervalMs, () => this.#round());
  }

  #readings(): Readonly<Record<string, string | number>> {
    const { numbers, clock } = this.#deps;
    const engine = numbers.engine();
    const connected = engine.sessionsOnline;
    this.#clientsMaximum = Math.max(this.#clientsMaximum, connected);
    const dropped = Object.values(engine.messagesDropped).reduce((sum, count) => sum + count, 0);
    return {
      '$SYS/broker/version': `RobustMQ ${this.#deps.version}`,
      '$SYS/broker/uptime': `${Math.floor((clock.now() - this.#startMs) / 1000)} seconds`,
      '$SYS/broker/clients/connected': connected,
      '$SYS/broker/clients/disconnected': engine.sessions - connected,
      '$SYS/broker/clients/total': engine.sessions,
      '$SYS/broker/clients/maximum': this.#clientsMaximum,
      '$SYS/broker/messages/received': numbers.counters.packetsReceived,
      '$SYS/broker/publish/messages/received': engine.messagesReceived,
      '$SYS/broker/publish/messages/sent': engine.messagesDelivered,
      '$SYS/broker/publish/messages/dropped': dropped,
      '$SYS/broker/bytes/received': numbers.counters.bytesReceived,
      '$SYS/broker/bytes/sent': numbers.turn.bytesWritten,
      '$SYS/broker/subscriptions/count': engine.subscriptions,
      '$SYS/broker/retained messages/count': engine.retainedMessages,
    };
  }

  #publish(readings: Readonly<Record<string, string | number>>): void {
    for (const [topicName, value] of Object.entries(readings)) {
      const message = { topicName, payload: Buffer.from(String(value)), qos: 0, retain: false } as const;
      this.#deps.publish(message).catch((error: unknown) => {
        this.#deps.logger.warn({ topicName, error: errorMessage(error) }, 'a $SYS topic could not be published');
      });
    }
  }
}
