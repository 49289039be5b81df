// The control plane: aedes decides who comes in, keeps the registry and tells plugins.
//
// The connection owns the socket and the bytes; aedes knows each client through a stream in memory
// (control-link.ts) that carries one CONNECT to it and one CONNACK back, and is closed when the client
// goes. Only its public interface is used; docs/decisions/0002-aedes-seam.md says why, with numbers.
//
// One CONNECT, in order:
//   1. preConnect of the embedding program
//   2. authenticate: the authenticators, then ConnectingClient.attach(), which fences an older connection
//      of the same client id wherever it is, before anything is told to this one
//   3. aedes registers the client and emits `client`
//   4. CONNACK on the link: the admission is settled, the connection sends its own CONNACK
//   5. aedes emits `clientReady`

import type { EventEmitter } from 'node:events';
import type { Logger } from '@robustmq/stdx/logger';
import type { ConnectPacket as AedesConnectPacket, AedesOptions, Client } from 'aedes';
import type { Authentication, Credentials } from '../auth/authenticator.js';
import type { ConnectPacket } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import type { Admission, ConnectingClient, ControlPlane } from '../connection/connection-deps.js';
import { AedesAdmission } from './admission.js';
import { type MessagePath, RobustAedes } from './robust-aedes.js';

export interface AedesHooks {
  /** Asked before anything else; see the documentation of aedes. The packet shows every client as MQTT 3. */
  readonly preConnect?: AedesOptions['preConnect'];
}

export interface ControlPlaneDeps {
  readonly authenticate: (credentials: Credentials) => Promise<Authentication>;
  readonly path: MessagePath;
  readonly logger: Logger;
  readonly hooks?: AedesHooks;
  readonly brokerId?: string;
}

export class AedesControlPlane implements ControlPlane {
  readonly aedes: RobustAedes;
  readonly #deps: ControlPlaneDeps;

  private constructor(deps: ControlPlaneDeps) {
    this.#deps = deps;
    const { preConnect } = deps.hooks ?? {};
    this.aedes = new RobustAedes(deps.path, {
      ...(deps.brokerId === undefined ? {} : { id: deps.brokerId }),
      preConnect: (client, packet, done) => this.#preConnect(client, { packet, preConnect, done }),
      authenticate: (client, _username, _password, done) => {
        void AedesAdmission.of(client)?.authenticate(this.#deps, done);
      },
    });
    const events: EventEmitter = this.aedes; // its types name no error event
    events.on('error', (error: Error) => deps.logger.error({ err: error }, 'aedes reports an error'));
  }

  static async open(deps: ControlPlaneDeps): Promise<AedesControlPlane> {
    const plane = new AedesControlPlane(deps);
    await plane.aedes.listen();
    return plane;
  }

  admit(client: ConnectingClient, connect: ConnectPacket): Admission {
    const admission = new AedesAdmission(client, connect);
    admission.begin(this.aedes);
    return admission;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.aedes.close(resolve);
    });
  }

  #preConnect(
    client: Client,
    ask: {
      readonly packet: AedesConnectPacket;
      readonly preConnect: AedesOptions['preConnect'];
      readonly done: (error: Error | null, success: boolean) => void;
    },
  ): void {
    if (ask.preConnect === undefined) {
      ask.done(null, true);
      return;
    }
    const answer = (error: Error | null, success: boolean) => {
      // aedes leaves a client hanging that preConnect turns away without an error: it is refused here.
      if (error === null && success === true) ask.done(null, true);
      else AedesAdmission.of(client)?.refuse(ReasonCode.notAuthorized, error?.message ?? 'refused by preConnect');
    };
    try {
      ask.preConnect(client, ask.packet, answer);
    } catch (error) {
      answer(error instanceof Error ? error : null, false);
    }
  }
}
