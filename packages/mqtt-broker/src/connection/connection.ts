// One client on one socket: its life from the accepted socket to the end.
//
//   C1. The state only moves forward: awaiting-connect, connecting, attached, closing, closed.
//   C2. Nothing is sent before CONNACK, and nothing a client sent behind CONNECT is read before it.
//   C3. A claimed session is detached exactly once, whoever ends the connection and when.
//   C4. A fault of the client ends this connection and nothing else.
//   C5. An end has a deadline: what still has to leave may take `lingerMs`, then the socket is destroyed.

import type { Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { encodeConnack, encodeDisconnect, PLAIN_PROFILE, type WireProfile, wireProfile } from '../codec/encode.js';
import type { ConnectPacket, DisconnectPacket, ProtocolVersion, Will } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import { MqttError } from '../errors.js';
import type { AttachedSession, AttachOutcome, DetachReason } from '../session/session-port.js';
import {
  type Admission,
  type ConnectingClient,
  type ConnectionDeps,
  countUp,
  type ProvedIdentity,
} from './connection-deps.js';
import { Deadline, DeadlineWheel } from './deadline-wheel.js';
import { type Grant, grant } from './grant.js';
import { Hold, Intake, type IntakeOwner } from './intake.js';
import { Outbox, type OutboxOwner } from './outbox.js';
import type { ClientTransport, PeerAddress, TransportReceiver } from './transport.js';

type State =
  | { readonly phase: 'awaiting-connect' }
  | Connecting
  | { readonly phase: 'attached'; readonly admission: Admission; readonly session: AttachedSession }
  | { readonly phase: 'closing' }
  | { readonly phase: 'closed' };

interface Connecting {
  readonly phase: 'connecting';
  readonly connect: ConnectPacket;
  readonly grant: Grant;
  admission: Admission | undefined;
  claimed: AttachOutcome | undefined;
}

/** How a connection ends: what the metrics count, what the log says, and whose fault it is. */
interface End {
  readonly kind: 'disconnect' | 'client-lost' | 'client-fault' | 'refused' | 'server';
  readonly detach: DetachReason;
  readonly error?: Error;
}

const AWAITING: State = { phase: 'awaiting-connect' };
const CLOSING: State = { phase: 'closing' };
const CLOSED: State = { phase: 'closed' };

export class Connection extends Deadline implements IntakeOwner, ConnectingClient, TransportReceiver, OutboxOwner {
  readonly #transport: ClientTransport;
  readonly #deps: ConnectionDeps;
  readonly #onClosed: (connection: Connection) => void;
  readonly #intake: Intake;
  readonly outbox: Outbox;
  #state: State = AWAITING;
  /** The tick of the wheel in which bytes last came. */
  #lastSeen: number;
  #keepAliveTicks = 0;
  #sessionExpirySeconds = 0;
  #expiry: Timer | undefined;
  receiveMaximum = 0;
  topicAliasMaximum = 0;
  profile: WireProfile = PLAIN_PROFILE[4];
  clientId = '';
  username: string | undefined;

  /** `onClosed` is called once, when the transport is gone. */
  constructor(transport: ClientTransport, deps: ConnectionDeps, onClosed: (connection: Connection) => void) {
    super();
    this.#onClosed = onClosed;
    this.#transport = transport;
    this.#deps = deps;
    this.#intake = new Intake(this, transport, deps);
    this.outbox = new Outbox(transport, { turn: deps.turn, limits: deps.limits.outbox, owner: this });
    this.#lastSeen = deps.wheel.tick;
  }

  /** Begins to read. */
  start(): void {
    this.#deps.wheel.set(this, DeadlineWheel.ticksFor(this.#deps.limits.connectTimeoutMs));
    this.#transport.open(this);
  }

  get phase(): State['phase'] {
    return this.#state.phase;
  }

  get transportKind(): ClientTransport['kind'] {
    return this.#transport.kind;
  }

  // What the session sees.

  get version(): ProtocolVersion {
    return this.profile.version;
  }

  get peer(): PeerAddress {
    return this.#transport.peer;
  }

  get receiveMaximumOfServer(): number {
    return this.#deps.limits.receiveMaximum;
  }

  get maximumPacketSize(): number {
    return this.profile.maximumPacketBytes;
  }

  get congested(): boolean {
    return this.outbox.congested;
  }

  pauseReading(): void {
    this.#intake.hold(Hold.engine);
  }

  resumeReading(): void {
    this.#lastSeen = this.#deps.wheel.tick; // we did not listen: the client may have spoken
    this.#intake.unhold(Hold.engine);
  }

  /** Tells the client why, where its version has words for it, and ends the connection. */
  disconnect(reason: ReasonCode, text?: string): void {
    const cause = text ?? `the server disconnects with reason code 0x${reason.toString(16)}`;
    this.#endSaying(reason, { kind: 'server', detach: { kind: 'lost', cause } }, text);
  }

  // What the transport, the outbox and the wheel report.

  onBytes(chunk: Buffer): void {
    this.#lastSeen = this.#deps.wheel.tick;
    this.#deps.counters.bytesReceived += chunk.length;
    if (this.#state.phase === 'closing') return; // read and dropped, so that the last bytes to the client arrive
    this.#intake.push(chunk);
  }

  onDrain(): void {
    this.outbox.drained();
  }

  onWritable(): void {
    this.#intake.unhold(Hold.congestion);
    if (this.#state.phase === 'attached') this.#state.session.onWritable();
  }

  /** A client that does not read is not read either: its answers would only pile up. */
  onCongested(): void {
    this.#intake.hold(Hold.congestion);
  }

  onOverflow(pendingBytes: number): void {
    this.#deps.counters.slowConsumersClosed++;
    const cause = `the client left ${pendingBytes} bytes unread`;
    this.#end({ kind: 'server', detach: { kind: 'lost', cause }, error: closedBecause(cause) });
    this.#transport.destroy(); // DISCONNECT would wait behind what is not read
  }

  onEnd(): void {
    this.#end({ kind: 'client-lost', detach: { kind: 'lost', cause: 'closed by the client without DISCONNECT' } });
    this.#transport.end();
  }

  onClose(cause: string): void {
    this.#end({ kind: 'client-lost', detach: { kind: 'lost', cause } });
    this.#state = CLOSED; // C1
    this.#deps.wheel.cancel(this);
    this.#onClosed(this);
  }

  onDue(tick: number): number {
    switch (this.#state.phase) {
      case 'awaiting-connect':
        return this.#timeOut(ReasonCode.keepAliveTimeout, 'CONNECT did not arrive in time');
      case 'connecting':
        return this.#timeOut(ReasonCode.serverUnavailable, 'the admission of the client took too long');
      case 'attached':
        return this.#checkKeepAlive(tick);
      case 'closing':
        this.#transport.destroy(); // C5
        return 0;
      case 'closed':
        return 0;
    }
  }

  #checkKeepAlive(tick: number): number {
    if (this.#intake.isHeldBy(Hold.engine)) return this.#keepAliveTicks; // its pings wait where we do not look
    const idle = tick - this.#lastSeen;
    if (idle < this.#keepAliveTicks) return this.#keepAliveTicks - idle;
    if (this.#state.phase === 'attached') this.#state.admission.keepAliveExpired();
    return this.#timeOut(ReasonCode.keepAliveTimeout, 'keep alive timeout'); // [MQTT-3.1.2-22]
  }

  #timeOut(reason: ReasonCode, cause: string): number {
    this.#endSaying(reason, { kind: 'client-fault', detach: { kind: 'lost', cause }, error: closedBecause(cause) });
    return 0; // the end has set a deadline of its own
  }

  // What the reading side reports.

  onConnect(connect: ConnectPacket): void {
    const { limits, wheel, newClientId } = this.#deps;
    this.profile = wireProfile(connect);
    this.clientId = connect.clientId === '' ? newClientId() : connect.clientId;
    if (connect.properties?.authenticationMethod !== undefined) {
      throw new MqttError('PROTOCOL_ERROR', 'no method of enhanced authentication is offered', {
        clause: 'MQTT-4.12.0-1',
        reasonCode: ReasonCode.badAuthenticationMethod,
      });
    }
    const granted = grant(connect, { limits, clientId: this.clientId });
    this.#sessionExpirySeconds = granted.sessionExpirySeconds;
    this.receiveMaximum = granted.receiveMaximum;
    this.topicAliasMaximum = granted.topicAliasMaximum;
    this.#intake.hold(Hold.admission); // C2
    wheel.set(this, DeadlineWheel.ticksFor(limits.admissionTimeoutMs));
    const final = connect.clientId === this.clientId ? connect : { ...connect, clientId: this.clientId };
    const state: Connecting = {
      phase: 'connecting',
      connect: final,
      grant: granted,
      admission: undefined,
      claimed: undefined,
    };
    this.#state = state;
    state.admission = this.#deps.control.admit(this, final);
  }

  onDisconnect(packet: DisconnectPacket): void {
    const asked = packet.properties?.sessionExpiryInterval;
    if (asked !== undefined && asked > 0 && this.#sessionExpirySeconds === 0) {
      throw new MqttError('PROTOCOL_ERROR', 'DISCONNECT prolongs a session that was to end with the connection', {
        clause: 'MQTT-3.14.2-2',
      });
    }
    const sessionExpirySeconds =
      asked === undefined ? undefined : Math.min(asked, this.#deps.limits.sessionExpirySecondsMax);
    const keepsWill = packet.reasonCode === ReasonCode.disconnectWithWill ? 'yes' : 'no'; // [MQTT-3.14.4-3]
    this.#end({ kind: 'disconnect', detach: { kind: 'disconnect', keepsWill, sessionExpirySeconds } });
    this.#transport.end(); // [MQTT-3.14.4-2]
  }

  refuse(thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : closedBecause(String(thrown));
    const reason = error instanceof MqttError ? error.reasonCode : ReasonCode.unspecifiedError;
    const { peer, clientId } = this;
    if (error instanceof MqttError) this.#deps.logger.debug({ clientId, peer, code: error.code }, error.message);
    else this.#deps.logger.error({ clientId, peer, err: error }, 'a packet could not be served: connection closed'); // C4
    const version = this.#intake.version;
    if (version !== undefined && this.#state.phase === 'awaiting-connect') this.profile = PLAIN_PROFILE[version];
    const detach: DetachReason = { kind: 'lost', cause: error.message };
    this.#endSaying(reason, { kind: 'client-fault', detach, error }, error.message);
  }

  // What the control plane asks and decides.

  async attach({ username, expiresAtMs }: ProvedIdentity): Promise<void> {
    const state = this.#state;
    if (state.phase !== 'connecting') throw closedBecause('the connection ended before its session was claimed');
    const { connect, grant } = state;
    this.username = username;
    if (expiresAtMs !== undefined) this.#expireAt(expiresAtMs);
    await this.#askForWill(connect.will);
    const { sessionExpirySeconds } = grant;
    const claimed = await this.#deps.engine.attach({ port: this, connect, sessionExpirySeconds });
    if (this.#state === state) {
      state.claimed = claimed;
      return;
    }
    await claimed.session.detach({ kind: 'lost', cause: 'the connection ended before CONNACK' }); // C3
    throw closedBecause('the connection ended before its session was claimed');
  }

  /** Whoever came in with a proof that ends does not stay beyond it. */
  #expireAt(expiresAtMs: number): void {
    const { clock } = this.#deps;
    this.#expiry = clock.setTimer(Math.max(0, expiresAtMs - clock.wallTime()), () =>
      this.disconnect(ReasonCode.maximumConnectTime, 'what the client proved itself with has expired'),
    );
  }

  /** A will is a PUBLISH that comes later: what may not be published may not be left behind either. */
  async #askForWill(will: Will | undefined): Promise<void> {
    if (will === undefined) return;
    const verdict = await this.#deps.permission.mayPublish(this, { ...will, dup: false, packetId: 0 });
    if (verdict === 'allow') return;
    throw new MqttError('NOT_AUTHORIZED', `the client may not publish its will to ${JSON.stringify(will.topicName)}`);
  }

  onAdmitted(): void {
    const state = this.#state;
    if (state.phase !== 'connecting') return; // it ended meanwhile, and was cleaned up then (C3)
    if (state.claimed === undefined || state.admission === undefined) {
      this.onRefused(ReasonCode.serverUnavailable, 'no session was claimed');
    } else this.#accept(state, { admission: state.admission, claimed: state.claimed });
  }

  onRefused(reason: ReasonCode, why: string): void {
    const { clientId, peer, username } = this;
    this.#deps.refusals.say(
      { clientId, username, address: peer.address, reasonCode: reason },
      `a client was refused: ${why}`,
    );
    this.#endSaying(reason, { kind: 'refused', detach: { kind: 'lost', cause: why } });
  }

  onExpelled(): void {
    this.disconnect(ReasonCode.administrativeAction, 'closed by the control plane');
  }

  #accept(
    { grant }: Connecting,
    { admission, claimed }: { readonly admission: Admission; readonly claimed: AttachOutcome },
  ): void {
    const { properties, keepAliveSeconds } = grant;
    const { session, sessionPresent } = claimed;
    const connack = encodeConnack({ sessionPresent, reasonCode: ReasonCode.success, properties }, this.profile);
    this.#state = { phase: 'attached', admission, session };
    if (connack === undefined) {
      // [MQTT-3.1.2-24]: not even the answer may be sent.
      const cause = 'CONNACK is larger than the client’s maximum packet size';
      this.#end({ kind: 'refused', detach: { kind: 'lost', cause }, error: closedBecause(cause) });
      this.#transport.destroy();
      return;
    }
    this.outbox.write(connack);
    this.#deps.counters.connectAccepted++;
    this.#setKeepAlive(keepAliveSeconds);
    this.#intake.accept(session);
    session.start();
    this.#intake.unhold(Hold.admission);
  }

  #setKeepAlive(seconds: number): void {
    const { wheel } = this.#deps;
    this.#lastSeen = wheel.tick;
    if (seconds === 0) {
      wheel.cancel(this);
      return;
    }
    this.#keepAliveTicks = DeadlineWheel.ticksFor(seconds * 1500); // [MQTT-3.1.2-22]
    wheel.set(this, this.#keepAliveTicks);
  }

  // The end.

  /** Writes CONNACK or DISCONNECT where one is due and the client's version has it, then ends. */
  #endSaying(reason: ReasonCode, end: End, reasonString?: string): void {
    const { phase } = this.#state;
    if (phase === 'closing' || phase === 'closed') return;
    const properties = reasonString === undefined ? undefined : { reasonString };
    const packet = { reasonCode: reason, properties };
    let last: Buffer | undefined;
    if (phase === 'attached') last = encodeDisconnect(packet, this.profile, 'server');
    else if (this.#intake.version !== undefined) {
      last = encodeConnack({ ...packet, sessionPresent: false }, this.profile); // [MQTT-3.2.2-6]
      countUp(this.#deps.counters.connectRefused, reason);
    }
    if (last !== undefined) this.outbox.write(last);
    this.#end(end);
    if (last === undefined) this.#transport.destroy();
    else this.#transport.end();
  }

  /** Everything but the socket ends here; what is in the outbox still leaves (C5). */
  #end(end: End): void {
    const state = this.#state;
    if (state.phase === 'closing' || state.phase === 'closed') return;
    this.#state = CLOSING; // C1
    this.#expiry?.cancel();
    this.#intake.session = undefined;
    this.outbox.flush();
    this.outbox.close();
    this.#transport.resume(); // to see the client's end; what it sends is dropped
    this.#deps.wheel.set(this, DeadlineWheel.ticksFor(this.#deps.limits.lingerMs)); // C5
    countUp(this.#deps.counters.disconnected, end.kind);
    if (state.phase === 'attached') this.#detach(state.session, end.detach);
    else if (state.phase === 'connecting' && state.claimed) this.#detach(state.claimed.session, end.detach);
    if (state.phase === 'attached' || state.phase === 'connecting') state.admission?.release(end.error);
  }

  #detach(session: AttachedSession, reason: DetachReason): void {
    const { clientId } = this;
    session.detach(reason).catch((error: unknown) => {
      this.#deps.logger.error({ clientId, error: errorMessage(error) }, 'the end of a session could not be kept');
    });
  }
}

function closedBecause(cause: string): MqttError {
  return new MqttError('CONNECTION_CLOSED', cause);
}
