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
import {
  type AnonymousPolicy,
  type Authentication,
  type Authenticator,
  authenticateInOrder,
  type Credentials,
} from '../auth/authenticator.js';
import type { Authorizer } from '../auth/authorizer.js';
import type { ConnectPacket } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import type { Admission, ConnectingClient, ControlPlane } from '../connection/connection-deps.js';
import { AedesAdmission } from './admission.js';
import { type AedesHooks, askAuthenticate, authorizerOfHooks } from './hooks.js';
import { type MessagePath, RobustAedes } from './robust-aedes.js';

export interface ControlPlaneDeps {
  /** Asked in order; the first that knows a client decides. */
  readonly authenticators: readonly Authenticator[];
  readonly anonymous: AnonymousPolicy;
  readonly path: MessagePath;
  readonly logger: Logger;
  readonly hooks: AedesHooks;
}

export class AedesControlPlane implements ControlPlane {
  readonly aedes: RobustAedes;
  readonly #deps: ControlPlaneDeps;
  readonly #authenticate: (credentials: Credentials) => Promise<Authentication>;
  /** Clients by id, where a hook wants to see them. */
  readonly #clients = new Map<string, Client>();

  private constructor(deps: ControlPlaneDeps) {
    this.#deps = deps;
    this.#authenticate = authenticateInOrder(deps.authenticators, deps.anonymous);
    const { preConnect } = deps.hooks;
    this.aedes = new RobustAedes(deps.path, {
      preConnect: (client, packet, done) => this.#preConnect(client, { packet, preConnect, done }),
      authenticate: (client, ...[, , done]) => {
        const authenticate = this.#authenticatorsFor(client);
        void AedesAdmission.of(client)?.authenticate({ authenticate, logger: deps.logger }, done);
      },
    });
    if (deps.hooks.authorizePublish ?? deps.hooks.authorizeSubscribe) this.#keepClients();
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

  /** The authorize hooks; undefined where there is none. */
  get authorizer(): Authorizer | undefined {
    return authorizerOfHooks(this.#deps.hooks, (clientId) => this.#clients.get(clientId));
  }

  /** The types of aedes name no registry: its events tell who is in it. */
  #keepClients(): void {
    this.aedes.on('client', (client) => this.#clients.set(client.id, client));
    this.aedes.on('clientDisconnect', (client) => {
      if (this.#clients.get(client.id) === client) this.#clients.delete(client.id);
    });
  }

  #authenticatorsFor(client: Client): (credentials: Credentials) => Promise<Authentication> {
    const { authenticate } = this.#deps.hooks;
    if (authenticate === undefined) return this.#authenticate;
    const hook = { authenticate: (credentials: Credentials) => askAuthenticate(authenticate, client, credentials) };
    return authenticateInOrder([...this.#deps.authenticators, hook], this.#deps.anonymous);
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
