// Which property may stand where, and how it is encoded (MQTT5 §2.2.2.2, table 2-4).

import type { Properties } from './packets.js';

/** Where properties stand. PUBLISH and DISCONNECT differ by who sends them. */
export const PropertyPlace = {
  connect: 1 << 0,
  will: 1 << 1,
  connack: 1 << 2,
  publishFromClient: 1 << 3,
  publishFromServer: 1 << 4,
  puback: 1 << 5,
  pubrec: 1 << 6,
  pubrel: 1 << 7,
  pubcomp: 1 << 8,
  subscribe: 1 << 9,
  suback: 1 << 10,
  unsubscribe: 1 << 11,
  unsuback: 1 << 12,
  disconnectFromClient: 1 << 13,
  disconnectFromServer: 1 << 14,
  auth: 1 << 15,
  /** Not a packet: what belongs to a message and lies in storage with it. */
  message: 1 << 16,
} as const;

export type PropertyPlace = (typeof PropertyPlace)[keyof typeof PropertyPlace];

export type PropertyEncoding =
  | 'flag' // one byte, 0 or 1
  | 'u16'
  | 'u32'
  | 'variable byte integer'
  | 'text'
  | 'topic name'
  | 'binary'
  | 'text pair';

export interface PropertyRule {
  readonly id: number;
  readonly name: keyof Properties;
  readonly encoding: PropertyEncoding;
  /** A set of PropertyPlace bits. */
  readonly places: number;
  /** Where the specification states the rule of occurring once and the legal values. */
  readonly section: string;
  /** Values below are a protocol error. */
  readonly min: number;
  readonly repeats: 'once' | 'many';
}

const P = PropertyPlace;
const PUBLISH = P.publishFromClient | P.publishFromServer;
const MESSAGE = PUBLISH | P.will | P.message;
const HANDSHAKE = P.connect | P.connack;
const ACKS = P.puback | P.pubrec | P.pubrel | P.pubcomp;
const ANYWHERE = 0x1_ffff;

type Details = Partial<Pick<PropertyRule, 'min' | 'repeats'>>;
type Row = readonly [number, keyof Properties, PropertyEncoding, number, string, Details?];

const ROWS: readonly Row[] = [
  [1, 'payloadFormatIndicator', 'flag', MESSAGE, '3.3.2.3.2'],
  [2, 'messageExpiryInterval', 'u32', PUBLISH | P.will, '3.3.2.3.3'],
  [3, 'contentType', 'text', MESSAGE, '3.3.2.3.9'],
  [8, 'responseTopic', 'topic name', MESSAGE, '3.3.2.3.5'],
  [9, 'correlationData', 'binary', MESSAGE, '3.3.2.3.6'],
  // In PUBLISH one per matching subscription; a client may not send it there [MQTT-3.3.4-6]; in SUBSCRIBE once (§3.8.2.1.2).
  [
    11,
    'subscriptionIdentifiers',
    'variable byte integer',
    PUBLISH | P.subscribe,
    '3.8.2.1.2',
    { min: 1, repeats: 'many' },
  ],
  [17, 'sessionExpiryInterval', 'u32', HANDSHAKE | P.disconnectFromClient, '3.1.2.11.2'],
  [18, 'assignedClientIdentifier', 'text', P.connack, '3.2.2.3.7'],
  [19, 'serverKeepAlive', 'u16', P.connack, '3.2.2.3.14'],
  [21, 'authenticationMethod', 'text', HANDSHAKE | P.auth, '3.1.2.11.9'],
  [22, 'authenticationData', 'binary', HANDSHAKE | P.auth, '3.1.2.11.10'],
  [23, 'requestProblemInformation', 'flag', P.connect, '3.1.2.11.7'],
  [24, 'willDelayInterval', 'u32', P.will, '3.1.3.2.2'],
  [25, 'requestResponseInformation', 'flag', P.connect, '3.1.2.11.6'],
  [26, 'responseInformation', 'text', P.connack, '3.2.2.3.15'],
  [28, 'serverReference', 'text', P.connack | P.disconnectFromServer, '3.2.2.3.16'],
  [
    31,
    'reasonString',
    'text',
    P.connack | ACKS | P.suback | P.unsuback | P.disconnectFromClient | P.disconnectFromServer | P.auth,
    '3.2.2.3.9',
  ],
  [33, 'receiveMaximum', 'u16', HANDSHAKE, '3.1.2.11.3', { min: 1 }],
  [34, 'topicAliasMaximum', 'u16', HANDSHAKE, '3.1.2.11.5'],
  [35, 'topicAlias', 'u16', PUBLISH, '3.3.2.3.4', { min: 1 }],
  [36, 'maximumQoS', 'flag', P.connack, '3.2.2.3.4'],
  [37, 'retainAvailable', 'flag', P.connack, '3.2.2.3.5'],
  [38, 'userProperties', 'text pair', ANYWHERE, '3.3.2.3.7', { repeats: 'many' }],
  [39, 'maximumPacketSize', 'u32', HANDSHAKE, '3.1.2.11.4', { min: 1 }],
  [40, 'wildcardSubscriptionAvailable', 'flag', P.connack, '3.2.2.3.11'],
  [41, 'subscriptionIdentifiersAvailable', 'flag', P.connack, '3.2.2.3.12'],
  [42, 'sharedSubscriptionAvailable', 'flag', P.connack, '3.2.2.3.13'],
];

/** In the order of their identifiers, which is the order the encoder writes them in. */
export const PROPERTY_RULES: readonly PropertyRule[] = ROWS.map(([id, name, encoding, places, section, details]) => ({
  id,
  name,
  encoding,
  places,
  section: `MQTT5 §${section}`,
  min: details?.min ?? 0,
  repeats: details?.repeats ?? 'once',
}));

/** Indexed by identifier; a hole where the specification defines none. */
export const RULE_BY_ID: readonly (PropertyRule | undefined)[] = Array.from({ length: 43 }, (_, id) =>
  PROPERTY_RULES.find((rule) => rule.id === id),
);

/** The rules of each place, in the order of their identifiers. */
export const RULES_BY_PLACE: ReadonlyMap<PropertyPlace, readonly PropertyRule[]> = new Map(
  Object.values(PropertyPlace).map((place) => [place, PROPERTY_RULES.filter((rule) => (rule.places & place) !== 0)]),
);
