import type { PublishPacket } from '../codec/packets.js';
import { MqttError } from '../errors.js';

/**
 * The aliases a client has bound on this connection (MQTT5 §3.3.2.3.4). They end with it. [MQTT-3.3.2-7]
 */
export class TopicAliases {
  readonly #maximum: number;
  #topicNames: Map<number, string> | undefined;

  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  /** The packet with its real topic name; binds the alias where the packet has both. Errors: TOPIC_ALIAS_INVALID. */
  resolve(packet: PublishPacket): PublishPacket {
    const alias = packet.properties?.topicAlias;
    if (alias === undefined) return packet; // the decoder refuses an empty topic name without an alias
    if (alias === 0 || alias > this.#maximum) {
      throw new MqttError('TOPIC_ALIAS_INVALID', `topic alias ${alias} is not within 1 to ${this.#maximum}`, {
        clause: 'MQTT-3.3.2-9',
      });
    }
    if (packet.topicName !== '') {
      this.#topicNames ??= new Map();
      this.#topicNames.set(alias, packet.topicName);
      return packet;
    }
    const topicName = this.#topicNames?.get(alias);
    if (topicName === undefined) {
      throw new MqttError('TOPIC_ALIAS_INVALID', `topic alias ${alias} was used before it was bound to a topic`, {
        clause: 'MQTT5 §3.3.2.3.4',
      });
    }
    return { ...packet, topicName };
  }
}
