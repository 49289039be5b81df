// Says goodbye on all connections, and removes the sessions the run left at the broker.

import { type LinkDeps, type LinkReceiver, MqttLink } from './mqtt-link.js';

interface Client {
  readonly link: MqttLink;
  readonly clientId: string;
}

/** A broker that has not closed its end by then is left behind. */
const PATIENCE_MS = 1000;
const LOOK_MS = 10;

export class Parting {
  readonly #clients: readonly Client[];
  readonly #deps: LinkDeps;

  constructor(clients: readonly Client[], deps: LinkDeps) {
    this.#clients = clients;
    this.#deps = deps;
  }

  /** `remembered` are those whose session the broker keeps: a clean start of the same client id ends it. */
  async run(remembered: readonly Client[]): Promise<void> {
    await this.#leave(this.#clients.map(({ link }) => link));
    await this.#leave(remembered.map(({ clientId }) => this.#forget(clientId)));
  }

  #forget(clientId: string): MqttLink {
    const receiver: LinkReceiver = {
      onReady: () => {},
      onMessage: () => {},
      onAcked: () => {},
      onChunkEnd: () => {},
      onDrain: () => {},
      onClosed: () => {},
    };
    return new MqttLink({ clientId, session: 'clean', subscription: undefined }, receiver, this.#deps);
  }

  async #leave(links: readonly MqttLink[]): Promise<void> {
    const { clock } = this.#deps;
    const began = clock.now();
    for (const link of links) link.leave();
    while (links.some((link) => !link.closed) && clock.now() - began < PATIENCE_MS) {
      await new Promise<void>((resolve) => {
        clock.setTimer(LOOK_MS, resolve);
      });
    }
    for (const link of links) link.destroy();
  }
}
