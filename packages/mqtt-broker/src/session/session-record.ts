// What the meta service remembers of a session that must outlive its connection, or whose will must.
//
// Format: JSON, so that an operator can read it with any client of the meta service. `v` is the format; a
// reader refuses one it does not know. Byte strings are base64.
//
//   {"v":1,"born":1,"from":[0,120,7,0],"epoch":4,"expiry":3600,"offlineSince":1764000000000,
//    "subscriptions":[{"filter":"a/+","qos":1,"nl":0,"rap":0,"rh":0,"id":7,"since":{"3":120}}],
//    "will":{"topic":"w","payload":"Z29uZQ==","qos":1,"retain":false,"username":"u","properties":{…}}}

import type { Properties, QoS, RetainHandling, Will } from '../codec/packets.js';
import { MqttError } from '../errors.js';

export interface SubscriptionRecord {
  readonly topicFilter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: RetainHandling;
  readonly identifier: number | undefined;
  /**
   * By message shard, the end of the shard when the client subscribed, where that lay above the session's
   * cursor: what was published before a subscription is not delivered for it.
   */
  readonly since: ReadonlyMap<number, number>;
}

export interface WillRecord {
  readonly will: Will;
  /** Who set it: the right to publish is asked again when it comes due. */
  readonly username: string | undefined;
}

export interface SessionRecord {
  /** The epoch it began with: what carries a lower one belongs to an ended session of the same client id. */
  readonly born: number;
  /** By message shard, where the shard ended when the session began: the floor of its cursor. Empty in a transient one. */
  readonly beginnings: readonly number[];
  /** Counts the owners of this client id: a writer with an older one is fenced (D12). */
  readonly epoch: number;
  /** Seconds the session lives on without a connection; 0 ends with it. */
  readonly expirySeconds: number;
  /** Milliseconds since 1970 UTC; undefined while connected, and so also after the broker was killed. */
  readonly offlineSinceMs: number | undefined;
  readonly subscriptions: readonly SubscriptionRecord[];
  readonly will: WillRecord | undefined;
}

const FORMAT = 1;

export function encodeSessionRecord(record: SessionRecord): Buffer {
  const { born, beginnings, epoch, expirySeconds, offlineSinceMs, subscriptions, will } = record;
  return Buffer.from(
    JSON.stringify({
      v: FORMAT,
      born,
      from: beginnings,
      epoch,
      expiry: expirySeconds,
      offlineSince: offlineSinceMs,
      subscriptions: subscriptions.map((subscription) => ({
        filter: subscription.topicFilter,
        qos: subscription.qos,
        nl: subscription.noLocal ? 1 : 0,
        rap: subscription.retainAsPublished ? 1 : 0,
        rh: subscription.retainHandling,
        id: subscription.identifier,
        since: subscription.since.size === 0 ? undefined : Object.fromEntries(subscription.since),
      })),
      will: will && encodeWill(will),
    }),
  );
}

function encodeWill({ will, username }: WillRecord): object {
  return {
    topic: will.topicName,
    payload: will.payload.toString('base64'),
    qos: will.qos,
    retain: will.retain,
    username,
    properties: will.properties && {
      ...will.properties,
      correlationData: will.properties.correlationData?.toString('base64'),
    },
  };
}

/** The shape of the JSON as this file writes it; every field is checked before it is believed. */
interface WrittenSession {
  v?: unknown;
  born?: unknown;
  from?: unknown;
  epoch?: unknown;
  expiry?: unknown;
  offlineSince?: unknown;
  subscriptions?: unknown;
  will?: unknown;
}

/** Errors: CORRUPT_SESSION_RECORD, with the client id in the message. */
export function decodeSessionRecord(clientId: string, bytes: Buffer): SessionRecord {
  try {
    const written = JSON.parse(bytes.toString('utf8')) as WrittenSession; // checked field by field below
    if (written.v !== FORMAT) throw new TypeError(`format ${String(written.v)} is not ${FORMAT}`);
    return {
      born: wholeNumber(written.born, 'born'),
      beginnings: list(written.from, 'from').map((offset) => wholeNumber(offset, 'from')),
      epoch: wholeNumber(written.epoch, 'epoch'),
      expirySeconds: wholeNumber(written.expiry, 'expiry'),
      offlineSinceMs:
        written.offlineSince === undefined ? undefined : wholeNumber(written.offlineSince, 'offlineSince'),
      subscriptions: list(written.subscriptions, 'subscriptions').map(decodeSubscription),
      will: written.will === undefined ? undefined : decodeWill(written.will),
    };
  } catch (cause) {
    throw new MqttError('CORRUPT_SESSION_RECORD', `the session of client "${clientId}" cannot be read from meta`, {
      cause,
    });
  }
}

function decodeSubscription(written: unknown): SubscriptionRecord {
  const fields = object(written, 'subscription');
  const since = fields['since'] === undefined ? {} : object(fields['since'], 'since');
  return {
    topicFilter: text(fields['filter'], 'filter'),
    qos: wholeNumber(fields['qos'], 'qos', 2) as QoS, // 0 to 2
    noLocal: fields['nl'] === 1,
    retainAsPublished: fields['rap'] === 1,
    retainHandling: wholeNumber(fields['rh'], 'rh', 2) as RetainHandling, // 0 to 2
    identifier: fields['id'] === undefined ? undefined : wholeNumber(fields['id'], 'id'),
    since: new Map(Object.entries(since).map(([shard, offset]) => [Number(shard), wholeNumber(offset, 'since')])),
  };
}

function decodeWill(written: unknown): WillRecord {
  const fields = object(written, 'will');
  const properties = fields['properties'] === undefined ? undefined : object(fields['properties'], 'properties');
  const correlationData = properties?.['correlationData'];
  return {
    will: {
      topicName: text(fields['topic'], 'topic'),
      payload: Buffer.from(text(fields['payload'], 'payload'), 'base64'),
      qos: wholeNumber(fields['qos'], 'qos', 2) as QoS, // 0 to 2
      retain: fields['retain'] === true,
      properties:
        properties &&
        // Written by encodeWill from the decoder's checked properties; only the bytes changed their form.
        ({
          ...properties,
          ...(correlationData === undefined
            ? {}
            : { correlationData: Buffer.from(text(correlationData, 'correlationData'), 'base64') }),
        } as Properties),
    },
    username: fields['username'] === undefined ? undefined : text(fields['username'], 'username'),
  };
}

function wholeNumber(value: unknown, name: string, highest = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > highest)
    throw new TypeError(`${name} is ${String(value)}, not a whole number up to ${highest}`);
  return value;
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new TypeError(`${name} is no text`);
  return value;
}

function list(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`${name} is no list`);
  return value;
}

function object(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new TypeError(`${name} is no object`);
  return value as Readonly<Record<string, unknown>>; // an object has string keys
}
