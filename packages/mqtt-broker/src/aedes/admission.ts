import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { AedesOptions, Client } from 'aedes';
import type { Authentication, Credentials } from '../auth/authenticator.js';
import { encodeConnect } from '../codec/encode.js';
import type { ConnectPacket } from '../codec/packets.js';
import { ReasonCode, reasonOfReturnCode } from '../codec/reason-codes.js';
import type { Admission, ConnectingClient } from '../connection/connection-deps.js';
import { MqttError } from '../errors.js';
import { ControlLink, type LinkListener } from './control-link.js';
import type { RobustAedes } from './robust-aedes.js';

type AuthenticateDone = Parameters<NonNullable<AedesOptions['authenticate']>>[3];

export interface AuthenticationDeps {
  readonly authenticate: (credentials: Credentials) => Promise<Authentication>;
  readonly logger: Logger;
}

/**
 * One client's way through the CONNECT series of aedes, and its place in the registry afterwards.
 *
 *   M1. The client hears a decision once: with CONNACK on the link, a refusal, or the end of the link.
 *   M2. Whatever a hook throws is a refusal.
 */
export class AedesAdmission implements Admission, LinkListener {
  readonly #client: ConnectingClient;
  readonly #link: ControlLink;
  /** What aedes calls the client, and the aedes it is a client of. */
  #registered: { readonly aedes: RobustAedes; readonly client: Client } | undefined;
  /** Until the decision. */
  #connect: ConnectPacket | undefined;
  #place: 'connecting' | 'registered' | 'released' = 'connecting';

  constructor(client: ConnectingClient, connect: ConnectPacket) {
    this.#client = client;
    this.#connect = connect;
    this.#link = new ControlLink(this);
  }

  /** The admission of a client of aedes; undefined when its link is gone. */
  static of(client: Client): AedesAdmission | undefined {
    const listener = client.conn instanceof ControlLink ? client.conn.listener : undefined;
    return listener instanceof AedesAdmission ? listener : undefined;
  }

  begin(aedes: RobustAedes): void {
    if (this.#connect === undefined) return;
    // What aedes documents for proxies: plugins read client.connDetails.
    const { address, port } = this.#client.peer;
    const connDetails = { ipAddress: address, port, ipFamily: address.includes(':') ? 6 : 4 };
    const client = aedes.handle(this.#link, { connDetails } as never); // typed as an HTTP request, of which aedes reads connDetails
    this.#registered = { aedes, client };
    this.#link.push(encodeConnect(shownToAedes(this.#connect)));
  }

  /** The authenticate hook of aedes: who is it, and then the claim of its session. */
  async authenticate(deps: AuthenticationDeps, done: AuthenticateDone): Promise<void> {
    const connect = this.#connect;
    if (connect === undefined) return;
    const { peer } = this.#client;
    const { clientId, username, password, protocolVersion: version } = connect;
    try {
      const result = await deps.authenticate({ clientId, username, password, peer, version });
      if (result.kind !== 'accepted') {
        const refused = result.kind === 'refused' ? result : { reasonCode: ReasonCode.notAuthorized, why: 'unknown' };
        this.refuse(refused.reasonCode, refused.why);
        return;
      }
      await this.#client.attach(result);
      done(null, true);
    } catch (error) {
      const reasonCode = error instanceof MqttError ? error.reasonCode : ReasonCode.serverUnavailable;
      if (!(error instanceof MqttError)) deps.logger.error({ clientId, err: error }, 'a client could not be admitted');
      this.refuse(reasonCode, errorMessage(error)); // M2
    }
  }

  refuse(reasonCode: ReasonCode, why: string): void {
    if (this.#decide()) this.#client.onRefused(reasonCode, why);
    this.release();
  }

  onConnack(returnCode: number): void {
    if (!this.#decide()) return;
    if (returnCode === 0) {
      this.#place = 'registered';
      this.#client.onAdmitted();
    } else this.#client.onRefused(reasonOfReturnCode(returnCode), 'refused by aedes');
  }

  onDestroyed(error: Error | null): void {
    const { place } = { place: this.#place };
    if (this.#decide() && place !== 'released') {
      this.#client.onRefused(ReasonCode.serverUnavailable, error?.message ?? 'the control plane closed the client');
    } else if (place === 'registered') this.#client.onExpelled();
  }

  keepAliveExpired(): void {
    if (this.#place === 'registered') this.#registered?.aedes.emit('keepaliveTimeout', this.#registered.client);
  }

  release(error?: Error): void {
    this.#place = 'released';
    // aedes hears of an error as an error of the client, and emits clientError before clientDisconnect.
    if (error === undefined) this.#link.destroy();
    else this.#link.destroy(error);
  }

  /** True the first time (M1). */
  #decide(): boolean {
    if (this.#connect === undefined) return false;
    this.#connect = undefined;
    return true;
  }
}

/**
 * What aedes is shown of a CONNECT: MQTT 3.1 or 3.1.1, without a will (the engine's) and without keep alive
 * (the connection's), so that it neither publishes the one nor starts a timer for the other.
 */
function shownToAedes(connect: ConnectPacket): ConnectPacket {
  return {
    ...connect,
    protocolVersion: connect.protocolVersion === 3 ? 3 : 4,
    keepAlive: 0,
    will: undefined,
    // MQTT 3.1.1 has no password without a user name; MQTT 5 does, and our authenticators saw it.
    password: connect.username === undefined ? undefined : connect.password,
    properties: undefined,
    bridge: false,
  };
}
