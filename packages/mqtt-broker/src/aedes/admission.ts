import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { AedesOptions, Client } from 'aedes';
import type { Authentication, Credentials } from '../auth/authenticator.js';
import { encodeConnect } from '../codec/encode.js';
import type { ConnectPacket } from '../codec/packets.js';
import { ReasonCode, reasonOfReturnCode } from '../codec/reason-codes.js';
import type { Admission, AdmissionOutcome, ConnectingClient } from '../connection/connection-deps.js';
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
 *   M1. The outcome settles exactly once: with CONNACK on the link, a refusal, or the end of the link.
 *   M2. Whatever a hook throws is a refusal.
 */
export class AedesAdmission implements Admission, LinkListener {
  readonly outcome: Promise<AdmissionOutcome>;
  readonly #client: ConnectingClient;
  readonly #link: ControlLink;
  #settle: ((outcome: AdmissionOutcome) => void) | undefined;
  #place: 'connecting' | 'registered' | 'released' = 'connecting';

  constructor(client: ConnectingClient) {
    this.#client = client;
    this.#link = new ControlLink(this);
    this.outcome = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** The admission of a client of aedes; undefined when its link is gone. */
  static of(client: Client): AedesAdmission | undefined {
    const listener = client.conn instanceof ControlLink ? client.conn.listener : undefined;
    return listener instanceof AedesAdmission ? listener : undefined;
  }

  begin(aedes: RobustAedes): void {
    const { connect, peer } = this.#client;
    // Documented for behind proxies: plugins read where a client comes from, and what it really sent, there.
    const request = {
      connDetails: { ipAddress: peer.address, port: peer.port, family: familyOf(peer.address) },
      connect,
    };
    aedes.handle(this.#link, request as never); // aedes types an HTTP request and reads only connDetails
    this.#link.push(encodeConnect(shownToAedes(connect)));
  }

  /** The authenticate hook of aedes: who is it, and then the claim of its session. */
  async authenticate(deps: AuthenticationDeps, done: AuthenticateDone): Promise<void> {
    const { connect, peer } = this.#client;
    const { clientId, username, password, protocolVersion: version } = connect;
    try {
      const result = await deps.authenticate({ clientId, username, password, peer, version });
      if (result.kind !== 'accepted') {
        const refused = result.kind === 'refused' ? result : { reasonCode: ReasonCode.notAuthorized, why: 'unknown' };
        this.refuse(refused.reasonCode, refused.why);
        return;
      }
      await this.#client.attach(result.username);
      done(null, true);
    } catch (error) {
      const reasonCode = error instanceof MqttError ? error.reasonCode : ReasonCode.serverUnavailable;
      deps.logger.warn({ clientId, error: errorMessage(error) }, 'a client could not be admitted');
      this.refuse(reasonCode, errorMessage(error)); // M2
    }
  }

  refuse(reasonCode: ReasonCode, why: string): void {
    this.#finish({ kind: 'refused', reasonCode, why });
    this.release();
  }

  onConnack(returnCode: number): void {
    if (returnCode === 0) {
      this.#place = 'registered';
      this.#finish({ kind: 'admitted' });
    } else this.#finish({ kind: 'refused', reasonCode: reasonOfReturnCode(returnCode), why: 'refused by aedes' });
  }

  onDestroyed(error: Error | null): void {
    const { place } = { place: this.#place };
    this.#finish({
      kind: 'refused',
      reasonCode: ReasonCode.serverUnavailable,
      why: error?.message ?? 'the control plane closed the client',
    });
    if (place === 'registered') this.#client.onExpelled();
  }

  release(error?: Error): void {
    this.#place = 'released';
    // aedes hears of an error as an error of the client, and emits clientError before clientDisconnect.
    if (error === undefined) this.#link.destroy();
    else this.#link.destroy(error);
  }

  #finish(outcome: AdmissionOutcome): void {
    this.#settle?.(outcome);
    this.#settle = undefined; // M1
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

function familyOf(address: string): 'IPv4' | 'IPv6' {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}
