// biome-ignore-all lint/suspicious/noTemplateCurlyInString: placeholders of access rules are plain text

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { covers, overlaps, topicMatches } from '../route/topic-filter.js';
import { Acl, type AclDefault } from './acl.js';
import { parseAclRule } from './acl-rule.js';
import type { ClientIdentity } from './authorizer.js';

const client = (clientId: string, username?: string): ClientIdentity => ({
  clientId,
  username,
  peer: { address: '192.0.2.1', port: 1, scope: 'remote' },
  version: 5,
});

const acl = (rules: readonly string[], byDefault: AclDefault = 'deny-with-rules') =>
  new Acl(rules.map(parseAclRule), byDefault);

describe('Acl', () => {
  it('lets the first rule decide that concerns a request', () => {
    const rules = acl(['deny publish plant/alarm', 'allow all plant/#', 'allow subscribe user=ann status/+']);
    const ann = client('a', 'ann');
    expect(rules.mayPublish(ann, 'plant/alarm')).toBe('deny');
    expect(rules.mayPublish(ann, 'plant/1')).toBe('allow');
    expect(rules.mayPublish(ann, 'plant/1')).toBe('allow'); // as remembered
    expect(rules.mayPublish(ann, 'status/1')).toBe('deny'); // of another action
    expect(rules.maySubscribe(ann, 'status/1')).toBe('allow');
    expect(rules.maySubscribe(client('b', 'bob'), 'status/1')).toBe('deny');
    expect(rules.maySubscribe(client('ann'), 'status/1')).toBe('deny');
    expect(acl(['allow all client=a x']).mayPublish(client('b'), 'x')).toBe('deny');
  });

  it('denies what no rule names once there is a rule, and allows everything without one (attack 41)', () => {
    expect(acl([]).mayPublish(client('a'), 'x')).toBe('allow');
    expect(acl([], 'deny').mayPublish(client('a'), 'x')).toBe('deny');
    expect(acl(['allow all y']).mayPublish(client('a'), 'x')).toBe('deny');
    expect(acl(['deny all y'], 'allow').mayPublish(client('a'), 'x')).toBe('allow');
  });

  it('allows a subscription by what covers it, and denies it by what it would touch', () => {
    const rules = acl(['deny subscribe secret/#', 'allow subscribe a/+', 'allow subscribe #'], 'deny');
    for (const filter of ['#', 'secret', 'secret/1', '+/1', '+', 'secret/+/x']) {
      expect(rules.maySubscribe(client('a'), filter)).toBe('deny');
    }
    expect(rules.maySubscribe(client('a'), 'a/#')).toBe('allow');
    const narrow = acl(['allow subscribe a/+']);
    expect(narrow.maySubscribe(client('a'), 'a/b')).toBe('allow');
    for (const filter of ['a/#', '#', '+/+', 'a/b/c', 'a'])
      expect(narrow.maySubscribe(client('a'), filter)).toBe('deny');
  });

  it('takes what a client calls itself as text, never as a pattern (attacks 40 and 41)', () => {
    const rules = acl(['allow all devices/${clientid}/#', 'allow publish users/${username}/in']);
    expect(rules.maySubscribe(client('d1', 'ann'), 'devices/d1/#')).toBe('allow');
    expect(rules.mayPublish(client('d1', 'ann'), 'devices/d1/state')).toBe('allow');
    expect(rules.mayPublish(client('d1', 'ann'), 'users/ann/in')).toBe('allow');
    expect(rules.mayPublish(client('d1', 'ann'), 'devices/d2/state')).toBe('deny');
    for (const odd of ['+', '#', 'd1/x', '', '+/#', 'd+', '${username}/', '$SYS', '/']) {
      expect(rules.maySubscribe(client(odd, odd), `devices/${odd}/#`)).toBe('deny');
      expect(rules.mayPublish(client(odd, odd), 'devices/d1/state')).toBe('deny');
      expect(rules.mayPublish(client(odd, odd), 'users/ann/in')).toBe('deny');
    }
    // One pass: a value is not searched for placeholders itself.
    expect(rules.mayPublish(client('{username}', 'ann'), 'devices/ann/x')).toBe('deny');
    expect(rules.mayPublish(client('d1'), 'users//in')).toBe('deny');
    expect(rules.mayPublish(client('d1'), 'users/undefined/in')).toBe('deny');
  });

  it('lets nobody slip past a denial by an odd name', () => {
    const rules = acl(['deny all inbox/${username}/private', 'allow all #']);
    expect(rules.mayPublish(client('a', 'ann'), 'inbox/ann/private')).toBe('deny');
    expect(rules.mayPublish(client('a', 'ann'), 'inbox/bob/private')).toBe('allow');
    for (const odd of [undefined, '+', 'a/b', '#']) {
      expect(rules.mayPublish(client('a', odd), 'inbox/bob/private')).toBe('deny');
    }
  });

  it('answers by new rules at once', () => {
    const rules = acl([]);
    const ann = client('a', 'ann');
    expect(rules.mayPublish(ann, 'x')).toBe('allow');
    rules.set([parseAclRule('allow all y')]);
    expect(rules.mayPublish(ann, 'x')).toBe('deny');
    rules.set([]);
    expect(rules.mayPublish(ann, 'x')).toBe('allow');
  });

  it.each([
    '',
    'allow',
    'allow all',
    'permit all #',
    'allow read #',
    'allow all a/#/b',
    'allow all a+',
    'allow all ${client}/#',
    'allow all $share/g/x',
    'allow all client=a user=b x',
    'allow all user= x',
  ])('refuses %j as a rule', (line) => {
    expect(() => parseAclRule(line)).toThrow(/access rule/);
  });
});

it('overlaps() says whether two filters meet in a topic', () => {
  const level = fc.constantFrom('a', 'b', '+', '', '$x');
  const filter = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, open]) => [...levels, ...(open ? ['#'] : [])].join('/'))
    .filter((text) => text !== '');
  const topic = fc
    .array(fc.constantFrom('a', 'b', '', '$x', 'c'), { minLength: 1, maxLength: 4 })
    .map((all) => all.join('/'));
  fc.assert(
    fc.property(filter, filter, topic, (one, other, name) => {
      expect(overlaps(one, other)).toBe(overlaps(other, one));
      if (name !== '' && topicMatches(one, name) && topicMatches(other, name)) expect(overlaps(one, other)).toBe(true);
      if (covers(one, other)) expect(overlaps(one, other)).toBe(true);
    }),
    { numRuns: 2000 },
  );
  for (const [one, other] of [
    ['a/b', 'a/c'],
    ['a/+', 'a'],
    ['#', '$SYS/x'],
    ['+/x', '$SYS/x'],
    ['a/+/c', 'a/b/d'],
  ] as const) {
    expect(overlaps(one, other)).toBe(false);
  }
});
