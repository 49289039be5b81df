import type { ClientPacketHandler, ServerPacketHandler } from '../packets.js';

/** What a decoder handed on: the name of the packet, then the packet or its fields. */
export type Recorded = readonly [name: string, ...fields: readonly unknown[]];

/** A handler of both sides that writes down what it gets. */
export class PacketRecorder implements ServerPacketHandler, ClientPacketHandler {
  readonly packets: Recorded[] = [];
  /** Called after each packet is noted; a test pauses or throws here. */
  onEach: (packet: Recorded) => void = () => {};

  onConnect(...fields: readonly unknown[]): void {
    this.#note('connect', fields);
  }
  onConnack(...fields: readonly unknown[]): void {
    this.#note('connack', fields);
  }
  onPublish(...fields: readonly unknown[]): void {
    this.#note('publish', fields);
  }
  onPuback(...fields: readonly unknown[]): void {
    this.#note('puback', fields);
  }
  onPubrec(...fields: readonly unknown[]): void {
    this.#note('pubrec', fields);
  }
  onPubrel(...fields: readonly unknown[]): void {
    this.#note('pubrel', fields);
  }
  onPubcomp(...fields: readonly unknown[]): void {
    this.#note('pubcomp', fields);
  }
  onSubscribe(...fields: readonly unknown[]): void {
    this.#note('subscribe', fields);
  }
  onSuback(...fields: readonly unknown[]): void {
    this.#note('suback', fields);
  }
  onUnsubscribe(...fields: readonly unknown[]): void {
    this.#note('unsubscribe', fields);
  }
  onUnsuback(...fields: readonly unknown[]): void {
    this.#note('unsuback', fields);
  }
  onPingreq(): void {
    this.#note('pingreq', []);
  }
  onPingresp(): void {
    this.#note('pingresp', []);
  }
  onDisconnect(...fields: readonly unknown[]): void {
    this.#note('disconnect', fields);
  }
  onAuth(...fields: readonly unknown[]): void {
    this.#note('auth', fields);
  }

  #note(name: string, fields: readonly unknown[]): void {
    const packet: Recorded = [name, ...fields];
    this.packets.push(packet);
    this.onEach(packet);
  }
}
