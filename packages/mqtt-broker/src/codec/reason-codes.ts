// The reason codes of MQTT 5.0 (§2.4), and what they become for MQTT 3.1 and 3.1.1.
//
// Inside the broker every refusal is a code of MQTT 5; the encoder maps it at the edge, so that no
// other file asks which version a client speaks before it says no.

export const ReasonCode = {
  success: 0x00,
  normalDisconnection: 0x00,
  grantedQoS0: 0x00,
  grantedQoS1: 0x01,
  grantedQoS2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const;

export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode];

/** From this value on a reason code reports a failure (MQTT5 §2.4). */
export const FIRST_FAILURE = 0x80;

export function isFailure(code: ReasonCode): boolean {
  return code >= FIRST_FAILURE;
}

/** A CONNACK return code of MQTT 3.1 and 3.1.1 (§3.2.2.3, table 3.1). */
export type ConnectReturnCode = 0 | 1 | 2 | 3 | 4 | 5;

/**
 * The return code that tells a client of MQTT 3 the same. Codes without a counterpart become
 * 3 (server unavailable) where a later attempt may succeed, and 5 (not authorized) where it will not.
 */
export function connectReturnCode(code: ReasonCode): ConnectReturnCode {
  switch (code) {
    case ReasonCode.success:
      return 0;
    case ReasonCode.unsupportedProtocolVersion:
      return 1;
    case ReasonCode.clientIdentifierNotValid:
      return 2;
    case ReasonCode.badUserNameOrPassword:
      return 4;
    case ReasonCode.notAuthorized:
    case ReasonCode.banned:
    case ReasonCode.badAuthenticationMethod:
    case ReasonCode.topicNameInvalid:
    case ReasonCode.retainNotSupported:
    case ReasonCode.qosNotSupported:
      return 5;
    default:
      return 3;
  }
}

type Listing = ReadonlySet<number>;
const codes = (...list: readonly ReasonCode[]): Listing => new Set<number>(list);
const R = ReasonCode;

/** The codes each packet may carry: [MQTT-3.2.2-8], [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]… */
export const ALLOWED_REASON_CODES = {
  connack: codes(
    R.success,
    R.unspecifiedError,
    R.malformedPacket,
    R.protocolError,
    R.implementationSpecificError,
    R.unsupportedProtocolVersion,
    R.clientIdentifierNotValid,
    R.badUserNameOrPassword,
    R.notAuthorized,
    R.serverUnavailable,
    R.serverBusy,
    R.banned,
    R.badAuthenticationMethod,
    R.topicNameInvalid,
    R.packetTooLarge,
    R.quotaExceeded,
    R.payloadFormatInvalid,
    R.retainNotSupported,
    R.qosNotSupported,
    R.useAnotherServer,
    R.serverMoved,
    R.connectionRateExceeded,
  ),
  puback: codes(
    R.success,
    R.noMatchingSubscribers,
    R.unspecifiedError,
    R.implementationSpecificError,
    R.notAuthorized,
    R.topicNameInvalid,
    R.packetIdentifierInUse,
    R.quotaExceeded,
    R.payloadFormatInvalid,
  ),
  pubrel: codes(R.success, R.packetIdentifierNotFound),
  suback: codes(
    R.grantedQoS0,
    R.grantedQoS1,
    R.grantedQoS2,
    R.unspecifiedError,
    R.implementationSpecificError,
    R.notAuthorized,
    R.topicFilterInvalid,
    R.packetIdentifierInUse,
    R.quotaExceeded,
    R.sharedSubscriptionsNotSupported,
    R.subscriptionIdentifiersNotSupported,
    R.wildcardSubscriptionsNotSupported,
  ),
  unsuback: codes(
    R.success,
    R.noSubscriptionExisted,
    R.unspecifiedError,
    R.implementationSpecificError,
    R.notAuthorized,
    R.topicFilterInvalid,
    R.packetIdentifierInUse,
  ),
  /** What a client may say in DISCONNECT; the rest is the server's (§3.14.2.1). */
  disconnectFromClient: codes(
    R.normalDisconnection,
    R.disconnectWithWill,
    R.unspecifiedError,
    R.malformedPacket,
    R.protocolError,
    R.implementationSpecificError,
    R.topicNameInvalid,
    R.receiveMaximumExceeded,
    R.topicAliasInvalid,
    R.packetTooLarge,
    R.messageRateTooHigh,
    R.quotaExceeded,
    R.administrativeAction,
    R.payloadFormatInvalid,
  ),
  disconnectFromServer: codes(
    R.normalDisconnection,
    R.unspecifiedError,
    R.malformedPacket,
    R.protocolError,
    R.implementationSpecificError,
    R.notAuthorized,
    R.serverBusy,
    R.serverShuttingDown,
    R.keepAliveTimeout,
    R.sessionTakenOver,
    R.topicFilterInvalid,
    R.topicNameInvalid,
    R.receiveMaximumExceeded,
    R.topicAliasInvalid,
    R.packetTooLarge,
    R.messageRateTooHigh,
    R.quotaExceeded,
    R.administrativeAction,
    R.payloadFormatInvalid,
    R.retainNotSupported,
    R.qosNotSupported,
    R.useAnotherServer,
    R.serverMoved,
    R.sharedSubscriptionsNotSupported,
    R.connectionRateExceeded,
    R.maximumConnectTime,
    R.subscriptionIdentifiersNotSupported,
    R.wildcardSubscriptionsNotSupported,
  ),
  authFromClient: codes(R.continueAuthentication, R.reAuthenticate),
  authFromServer: codes(R.success, R.continueAuthentication),
} as const satisfies Readonly<Record<string, Listing>>;

const BY_RETURN_CODE: readonly ReasonCode[] = [
  R.success,
  R.unsupportedProtocolVersion,
  R.clientIdentifierNotValid,
  R.serverUnavailable,
  R.badUserNameOrPassword,
  R.notAuthorized,
];

/** The reason code of MQTT 5 for a return code of MQTT 3; what has no meaning is an unspecified error. */
export function reasonOfReturnCode(returnCode: number): ReasonCode {
  return BY_RETURN_CODE[returnCode] ?? R.unspecifiedError;
}
