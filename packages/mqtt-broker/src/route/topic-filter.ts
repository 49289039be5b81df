// Topic names and topic filters (MQTT5 §4.7), shared subscriptions (§4.8.2), and the one prefix of our
// own, `$exclusive/`. All text here has already passed the rules of UTF-8 (codec/encoded-text.ts).

import { ReasonCode } from '../codec/reason-codes.js';

export interface TopicLimits {
  /** UTF-8 bytes of a name or filter. The protocol ends at 65,535 [MQTT-4.7.3-3]. */
  readonly bytesMax: number;
  /** Levels, which bound the depth of the tries and the work of a match. */
  readonly levelsMax: number;
}

/** What a SUBSCRIBE asks for, once the prefixes are taken apart. */
export type SubscriptionTarget =
  | { readonly kind: 'plain'; readonly filter: string }
  | { readonly kind: 'shared'; readonly group: string; readonly filter: string }
  /** At most one session of the cluster may hold it. */
  | { readonly kind: 'exclusive'; readonly filter: string };

export interface InvalidTopic {
  readonly kind: 'invalid';
  readonly reasonCode: ReasonCode;
  readonly why: string;
  readonly clause: string;
}

const SHARE = '$share/';
const EXCLUSIVE = '$exclusive/';

export function parseTopicFilter(text: string, limits: TopicLimits): SubscriptionTarget | InvalidTopic {
  if (text.startsWith(SHARE)) return parseShared(text, limits);
  if (text === '$share') return invalidFilter('a shared subscription names a group and a filter', 'MQTT-4.8.2-1');
  if (text.startsWith(EXCLUSIVE)) {
    const filter = text.slice(EXCLUSIVE.length);
    if (isPrefixed(filter)) return invalidFilter('prefixes of a filter do not nest', 'MQTT-4.8.2-2');
    return checkFilter(filter, limits) ?? { kind: 'exclusive', filter };
  }
  return checkFilter(text, limits) ?? { kind: 'plain', filter: text };
}

/** `$share/<group>/<filter>`: the group without `/`, `+`, `#` and not empty [MQTT-4.8.2-1] [MQTT-4.8.2-2]. */
function parseShared(text: string, limits: TopicLimits): SubscriptionTarget | InvalidTopic {
  const end = text.indexOf('/', SHARE.length);
  if (end < 0) return invalidFilter('a shared subscription has no filter after its group', 'MQTT-4.8.2-2');
  const group = text.slice(SHARE.length, end);
  if (group === '') return invalidFilter('the group of a shared subscription is empty', 'MQTT-4.8.2-1');
  if (group.includes('+') || group.includes('#')) {
    return invalidFilter('the group of a shared subscription holds a wildcard', 'MQTT-4.8.2-2');
  }
  const filter = text.slice(end + 1);
  // A filter that looks prefixed again would slip past permissions written for what it seems to name.
  if (isPrefixed(filter)) return invalidFilter('prefixes of a filter do not nest', 'MQTT-4.8.2-2');
  return checkFilter(filter, limits) ?? { kind: 'shared', group, filter };
}

function isPrefixed(filter: string): boolean {
  return filter === '$share' || filter.startsWith(SHARE) || filter.startsWith(EXCLUSIVE);
}

function checkFilter(filter: string, limits: TopicLimits): InvalidTopic | undefined {
  if (filter === '') return invalidFilter('the filter is empty', 'MQTT-4.7.3-1');
  if (isTooLong(filter, limits))
    return invalidFilter(`the filter is longer than ${limits.bytesMax} bytes`, 'MQTT-4.7.3-3');
  let levels = 1;
  for (let i = 0; i < filter.length; i++) {
    const unit = filter.charCodeAt(i);
    if (unit === SLASH) levels++;
    else if (unit === HASH) {
      if (i !== filter.length - 1) return invalidFilter('# is not the last character', 'MQTT-4.7.1-1');
      if (i > 0 && filter.charCodeAt(i - 1) !== SLASH) return invalidFilter('# does not fill a level', 'MQTT-4.7.1-1');
    } else if (unit === PLUS && !fillsLevel(filter, i)) return invalidFilter('+ does not fill a level', 'MQTT-4.7.1-2');
  }
  if (levels > limits.levelsMax) return invalidFilter(`the filter has more than ${limits.levelsMax} levels`, 'limit');
  return undefined;
}

/** Undefined when the name may be published to, as far as its form goes. */
export function checkTopicName(topicName: string, limits: TopicLimits): InvalidTopic | undefined {
  if (topicName === '') return invalidName('the topic name is empty', 'MQTT-4.7.3-1');
  if (isTooLong(topicName, limits))
    return invalidName(`the topic name is longer than ${limits.bytesMax} bytes`, 'MQTT-4.7.3-3');
  let levels = 1;
  for (let i = 0; i < topicName.length; i++) {
    const unit = topicName.charCodeAt(i);
    if (unit === SLASH) levels++;
    else if (unit === PLUS || unit === HASH) return invalidName('the topic name holds a wildcard', 'MQTT-4.7.0-1');
    else if (unit === 0) return invalidName('the topic name holds U+0000', 'MQTT-4.7.3-2');
  }
  if (levels > limits.levelsMax) return invalidName(`the topic name has more than ${limits.levelsMax} levels`, 'limit');
  return undefined;
}

export function hasWildcard(filter: string): boolean {
  return filter.endsWith('#') || filter.includes('+');
}

/** Whether a message published to `topicName` belongs to `filter` (§4.7.2, §4.7.3). For one pair; a set is a TopicTrie. */
export function topicMatches(filter: string, topicName: string): boolean {
  return covers(filter, topicName);
}

/**
 * Whether everything that `narrow` can match, `wide` matches too: a permission for `wide` then allows a
 * subscription to `narrow`. A topic name is a filter without wildcards, so this also matches names.
 */
export function covers(wide: string, narrow: string): boolean {
  const byWildcard = wide.charCodeAt(0) === PLUS || wide.charCodeAt(0) === HASH;
  if (byWildcard && narrow.charCodeAt(0) === DOLLAR) return false; // [MQTT-4.7.2-1]
  let w = 0;
  let n = 0;
  while (w <= wide.length) {
    const wEnd = endOfLevel(wide, w);
    if (wEnd === w + 1 && wide.charCodeAt(w) === HASH) return true; // also the parent: `a/#` covers `a`
    if (n > narrow.length) return false;
    const nEnd = endOfLevel(narrow, n);
    const isPlus = wEnd === w + 1 && wide.charCodeAt(w) === PLUS;
    if (nEnd === n + 1 && narrow.charCodeAt(n) === HASH) return false; // reaches further than `wide` does
    if (!isPlus && wide.slice(w, wEnd) !== narrow.slice(n, nEnd)) return false;
    w = wEnd + 1;
    n = nEnd + 1;
    if (n > narrow.length && w <= wide.length) return w === wide.length - 1 && wide.charCodeAt(w) === HASH;
  }
  return n > narrow.length;
}

/** Whether some topic name belongs to both filters: a denial of one then concerns a subscription to the other. */
export function overlaps(one: string, other: string): boolean {
  const oneHides = one.charCodeAt(0) === PLUS || one.charCodeAt(0) === HASH;
  const otherHides = other.charCodeAt(0) === PLUS || other.charCodeAt(0) === HASH;
  if (oneHides !== otherHides && (oneHides ? other : one).charCodeAt(0) === DOLLAR) return false; // [MQTT-4.7.2-1]
  const some = one.split('/');
  const others = other.split('/');
  for (let level = 0; ; level++) {
    const a = some[level];
    const b = others[level];
    if (a === '#' || b === '#') return true; // also the parent: `a/#` and `a` meet in `a`
    if (a === undefined || b === undefined) return a === b;
    if (a !== '+' && b !== '+' && a !== b) return false;
  }
}

export function endOfLevel(text: string, start: number): number {
  const slash = text.indexOf('/', start);
  return slash < 0 ? text.length : slash;
}

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

function fillsLevel(filter: string, at: number): boolean {
  const opens = at === 0 || filter.charCodeAt(at - 1) === SLASH;
  const closes = at === filter.length - 1 || filter.charCodeAt(at + 1) === SLASH;
  return opens && closes;
}

function isTooLong(text: string, { bytesMax }: TopicLimits): boolean {
  return text.length > bytesMax || (text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax);
}

function invalidFilter(why: string, clause: string): InvalidTopic {
  return { kind: 'invalid', reasonCode: ReasonCode.topicFilterInvalid, why, clause };
}

function invalidName(why: string, clause: string): InvalidTopic {
  return { kind: 'invalid', reasonCode: ReasonCode.topicNameInvalid, why, clause };
}
