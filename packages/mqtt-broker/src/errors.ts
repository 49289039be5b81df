import { CodedError, type CodedErrorOptions, type ErrorKind } from '@robustmq/stdx/coded-error';
import { ReasonCode } from './codec/reason-codes.js';

interface MqttErrorKind extends ErrorKind {
  /** What the peer is told: in CONNACK, an ack or DISCONNECT of MQTT 5, and mapped to a return code for MQTT 3. */
  readonly reasonCode: ReasonCode;
}

export const MQTT_ERRORS = {
  MALFORMED_PACKET: {
    next: 'never',
    when: 'bytes of a packet cannot be parsed by the rules of its protocol version',
    reasonCode: ReasonCode.malformedPacket,
  },
  PROTOCOL_ERROR: {
    next: 'never',
    when: 'a packet parses but is not allowed here: a property, value, or packet out of place',
    reasonCode: ReasonCode.protocolError,
  },
  PACKET_TOO_LARGE: {
    next: 'never',
    when: 'the fixed header declares more bytes than the limit in force',
    reasonCode: ReasonCode.packetTooLarge,
  },
  UNSUPPORTED_PROTOCOL_VERSION: {
    next: 'never',
    when: 'CONNECT names a protocol or a version other than MQTT 3.1, 3.1.1 and 5.0',
    reasonCode: ReasonCode.unsupportedProtocolVersion,
  },
  CLIENT_IDENTIFIER_NOT_VALID: {
    next: 'never',
    when: 'a client identifier is empty where the protocol version or cleanStart demands one',
    reasonCode: ReasonCode.clientIdentifierNotValid,
  },
  TOPIC_NAME_INVALID: {
    next: 'never',
    when: 'a topic name is empty, holds a wildcard, or is over the limits of length or levels',
    reasonCode: ReasonCode.topicNameInvalid,
  },
  TOPIC_FILTER_INVALID: {
    next: 'never',
    when: 'a topic filter is ill-formed or over the limits of length or levels',
    reasonCode: ReasonCode.topicFilterInvalid,
  },
  TOPIC_ALIAS_INVALID: {
    next: 'never',
    when: 'a topic alias is 0, above the maximum, or was never bound to a topic name',
    reasonCode: ReasonCode.topicAliasInvalid,
  },
  RECEIVE_BUFFER_FULL: {
    next: 'later',
    when: 'a paused connection went on delivering bytes beyond the limit of its receive buffer',
    reasonCode: ReasonCode.quotaExceeded,
  },
  CORRUPT_STORED_MESSAGE: {
    next: 'never',
    when: 'bytes read from storage are not a message of a known layout',
    reasonCode: ReasonCode.unspecifiedError,
  },
  CORRUPT_SESSION_RECORD: {
    next: 'never',
    when: 'what the meta service holds of a session is not a session record of a known format',
    reasonCode: ReasonCode.unspecifiedError,
  },
  SESSION_FENCED: {
    next: 'elsewhere',
    when: 'another node has taken the client identifier over; this one may not write its session any more',
    reasonCode: ReasonCode.sessionTakenOver,
  },
  INVALID_OPTION: {
    next: 'never',
    when: 'an option of the broker is outside its legal range, or does not fit the data that exists',
    reasonCode: ReasonCode.implementationSpecificError,
  },
  QUOTA_EXCEEDED: {
    next: 'later',
    when: 'a limit on retained messages, subscriptions or waiting bytes is reached',
    reasonCode: ReasonCode.quotaExceeded,
  },
  ENGINE_CLOSED: {
    next: 'elsewhere',
    when: 'the broker is closing and takes nothing new',
    reasonCode: ReasonCode.serverShuttingDown,
  },
  CONNECTION_CLOSED: {
    next: 'later',
    when: 'the connection ended: by a timeout, by the network, or because the client did not read',
    reasonCode: ReasonCode.unspecifiedError,
  },
  ADDRESS_IN_USE: {
    next: 'never',
    when: 'a listener cannot bind its address because another process holds it, or it is not ours',
    reasonCode: ReasonCode.serverUnavailable,
  },
  NOT_AUTHORIZED: {
    next: 'never',
    when: 'a client asks for what the authenticators or the authorizer forbid',
    reasonCode: ReasonCode.notAuthorized,
  },
  CONTROL_PLANE_UNFIT: {
    next: 'never',
    when: 'the aedes that was loaded is not the one this package was proved with, or behaves otherwise',
    reasonCode: ReasonCode.serverUnavailable,
  },
} as const satisfies Readonly<Record<string, MqttErrorKind>>;

export type MqttErrorCode = keyof typeof MQTT_ERRORS;

export interface MqttErrorOptions extends CodedErrorOptions {
  /** The normative statement that was broken, for example `MQTT-3.1.2-22`, or a section such as `MQTT5 §3.1.2.11`. */
  readonly clause?: string;
  /** A more precise code for the peer than the catalogue's. */
  readonly reasonCode?: ReasonCode;
}

/** The one error class of this package. `reasonCode` is what the peer is told, `clause` which rule it broke. */
export class MqttError extends CodedError<MqttErrorCode> {
  readonly reasonCode: ReasonCode;
  readonly clause: string | undefined;

  constructor(code: MqttErrorCode, message: string, options: MqttErrorOptions = {}) {
    const { clause } = options;
    super({ code, kind: MQTT_ERRORS[code] }, clause === undefined ? message : `${message} [${clause}]`, options);
    this.reasonCode = options.reasonCode ?? MQTT_ERRORS[code].reasonCode;
    this.clause = clause;
  }
}
