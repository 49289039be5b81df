import { errorMessage } from '@robustmq/stdx/coded-error';
import { Aedes, type AedesOptions, type AedesPublishPacket, type Client, type PublishPacket } from 'aedes';
import type { DeliveredMessage, LocalMessage } from '../session/session-port.js';
import { inertEmitter, inertPersistence } from './inert.js';

/** How the aedes instance reaches messages: through the engine, as everybody else. */
export interface MessagePath {
  publish(message: LocalMessage): Promise<void>;
  subscribe(topicFilter: string, listener: (message: DeliveredMessage) => void): () => void;
}

type Done = (error?: Error) => void;
type Deliver = (packet: AedesPublishPacket, done: () => void) => void;

/**
 * Its two background timers must not run: heartbeats and the sweep of wills are the meta service's work. The
 * longest interval whose fourfold (the sweep) is still a legal delay in Node: 6 days.
 */
const NEVER_MS = 2 ** 29 - 1;

/**
 * aedes as the control plane: client life cycle, hooks, registry and events are its own; publish() and
 * subscribe() go to the engine; what it would store or distribute goes nowhere.
 */
export class RobustAedes extends Aedes {
  readonly #path: MessagePath;
  readonly #listeners = new Map<Deliver, Map<string, () => void>>();

  constructor(path: MessagePath, hooks: Pick<AedesOptions, 'id' | 'preConnect' | 'authenticate'>) {
    super({
      ...hooks,
      persistence: inertPersistence,
      mq: inertEmitter,
      concurrency: 16, // only sets the listener limit of a link
      heartbeatInterval: NEVER_MS,
      maxClientsIdLength: 65_535, // MQTT 3.1's 23 characters bind clients, not servers; ours take what comes
    });
    this.#path = path;
  }

  /** Publishes a message of the process. What aedes itself announces under `$SYS/<its id>/` is left out. */
  override publish(packet: PublishPacket, client: Client | null | Done, done?: Done): void {
    const settle = (typeof client === 'function' ? client : done) ?? (() => {});
    if (packet.topic.startsWith(`$SYS/${this.id}/`)) {
      settle();
      return;
    }
    const payload =
      typeof packet.payload === 'string' ? Buffer.from(packet.payload) : (packet.payload ?? Buffer.alloc(0));
    const message = { topicName: packet.topic, payload, qos: packet.qos ?? 0, retain: packet.retain ?? false };
    this.#path.publish(message).then(
      () => settle(),
      (error: unknown) => settle(error instanceof Error ? error : new TypeError(errorMessage(error))),
    );
  }

  override subscribe(topic: string, deliver: Deliver, done?: () => void): void {
    const end = this.#path.subscribe(topic, (message) => deliver(asAedesPacket(message, this.id), () => {}));
    const filters = this.#listeners.get(deliver) ?? new Map<string, () => void>();
    filters.get(topic)?.();
    filters.set(topic, end);
    this.#listeners.set(deliver, filters);
    done?.();
  }

  override unsubscribe(topic: string, deliver: Deliver, done?: () => void): void {
    const filters = this.#listeners.get(deliver);
    filters?.get(topic)?.();
    filters?.delete(topic);
    if (filters?.size === 0) this.#listeners.delete(deliver);
    done?.();
  }
}

function asAedesPacket({ topicName, payload, qos, retain }: DeliveredMessage, brokerId: string): AedesPublishPacket {
  return { cmd: 'publish', brokerId, brokerCounter: 0, topic: topicName, payload, qos, retain, dup: false };
}
