import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { checkTopicName, covers, hasWildcard, parseTopicFilter, topicMatches } from './topic-filter.js';

const LIMITS = { bytesMax: 65_535, levelsMax: 128 };
const parse = (text: string) => parseTopicFilter(text, LIMITS);

describe('parseTopicFilter', () => {
  it.each([
    '#',
    '+',
    '/',
    '//',
    'a',
    'a/b',
    '/a',
    'a/',
    '+/+',
    'a/+/b',
    '+/a/#',
    '/#',
    '/+',
    '$SYS/#',
    'a b/#',
    '$shared',
    '$sharex/g/t',
  ])('takes %s', (filter) => {
    expect(parse(filter)).toEqual({ kind: 'plain', filter });
  });

  it.each([
    ['MQTT-4.7.1-1', ['#/a', 'a/#/b', 'a#', 'a/b#', '##', '#+']],
    ['MQTT-4.7.1-2', ['a+', '+a', 'a/+b', 'a/b+/c', '++', '+#']],
    ['MQTT-4.7.3-1', ['']],
    ['MQTT-4.8.2-1', ['$share', '$share//a']],
    ['MQTT-4.8.2-2', ['$share/', '$share/g', '$share/g+/a', '$share/#/a', '$share/+/a', '$share/g/$share/h/a']],
    ['MQTT-4.7.3-1', ['$share/g/', '$exclusive/']],
    ['MQTT-4.8.2-2', ['$exclusive/$share/g/a', '$share/g/$exclusive/a', '$exclusive/$exclusive/a']],
  ])('[%s] refuses %j', (clause, filters) => {
    for (const filter of filters) {
      expect([filter, parse(filter)]).toMatchObject([filter, { kind: 'invalid', clause, reasonCode: 0x8f }]);
    }
  });

  it('takes shared and exclusive subscriptions apart', () => {
    expect(parse('$share/g/a/+/b')).toEqual({ kind: 'shared', group: 'g', filter: 'a/+/b' });
    expect(parse('$share/g//')).toEqual({ kind: 'shared', group: 'g', filter: '/' });
    expect(parse('$share/__proto__/#')).toEqual({ kind: 'shared', group: '__proto__', filter: '#' });
    expect(parse('$exclusive/a/b')).toEqual({ kind: 'exclusive', filter: 'a/b' });
  });

  it('keeps to the limits of length, in bytes, and of levels', () => {
    const limits = { bytesMax: 10, levelsMax: 3 };
    expect(parseTopicFilter('0123456789', limits)).toMatchObject({ kind: 'plain' });
    expect(parseTopicFilter('0123456789a', limits)).toMatchObject({ kind: 'invalid', clause: 'MQTT-4.7.3-3' });
    expect(parseTopicFilter('ééééé', limits)).toMatchObject({ kind: 'plain' });
    expect(parseTopicFilter('éééééé', limits)).toMatchObject({ kind: 'invalid' });
    expect(parseTopicFilter('a/b/c', limits)).toMatchObject({ kind: 'plain' });
    expect(parseTopicFilter('a/b/c/d', limits)).toMatchObject({ kind: 'invalid' });
    expect(parseTopicFilter('$share/group/a/b/c', { ...limits, bytesMax: 5 })).toMatchObject({ kind: 'shared' });
  });
});

describe('checkTopicName', () => {
  it('[MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] refuses wildcards, an empty name and U+0000', () => {
    for (const name of ['a', '/', '$SYS/x', 'a//b', '__proto__']) expect(checkTopicName(name, LIMITS)).toBeUndefined();
    for (const name of ['', 'a/+', '#', 'a\u0000']) {
      expect(checkTopicName(name, LIMITS)).toMatchObject({ kind: 'invalid', reasonCode: 0x90 });
    }
    expect(checkTopicName('a/b/c', { bytesMax: 9, levelsMax: 2 })).toMatchObject({ kind: 'invalid' });
    expect(checkTopicName('a'.repeat(10), { bytesMax: 9, levelsMax: 2 })).toMatchObject({ clause: 'MQTT-4.7.3-3' });
  });
});

describe('topicMatches', () => {
  it.each([
    [
      'sport/tennis/player1/#',
      ['sport/tennis/player1', 'sport/tennis/player1/ranking', 'sport/tennis/player1/score/wimbledon'],
      ['sport/tennis', 'sport/tennis/player10'],
    ],
    ['sport/#', ['sport', 'sport/', 'sport/a'], ['sports', '/sport']],
    ['sport/tennis/+', ['sport/tennis/player1', 'sport/tennis/'], ['sport/tennis', 'sport/tennis/player1/ranking']],
    ['sport/+', ['sport/'], ['sport']],
    ['+/+', ['/finance', 'a/b', '/'], ['finance', 'a/b/c']],
    ['/+', ['/finance', '/'], ['finance', 'a/finance']],
    ['+', ['finance', 'a'], ['/finance', '$SYS']],
    ['#', ['a', '/', 'a/b/c', '/$a'], ['$SYS', '$SYS/a']],
    ['+/monitor/Clients', ['a/monitor/Clients'], ['$SYS/monitor/Clients']],
    ['$SYS/#', ['$SYS', '$SYS/a', '$SYS/a/b'], ['SYS/a']],
    ['$SYS/monitor/+', ['$SYS/monitor/Clients'], ['$SYS/monitor']],
    ['a/b', ['a/b'], ['a/B', 'A/b', 'a/b/', '/a/b']],
    ['é', ['é'], ['e\u0301']], // [MQTT-4.7.3-4]
  ])('[MQTT-4.7.2-1] the examples of §4.7: %s', (filter, matching, others) => {
    for (const name of matching) expect([filter, name, topicMatches(filter, name)]).toEqual([filter, name, true]);
    for (const name of others) expect([filter, name, topicMatches(filter, name)]).toEqual([filter, name, false]);
  });
});

const level = fc.constantFrom('a', 'b', '', '$x', '+');
const filterText = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, multi]) => (multi ? [...levels.slice(0, -1), '#'] : levels).join('/'))
  .filter((filter) => filter !== '');
const LEVELS = ['a', 'b', '', '$x', 'z'];
const NAMES = LEVELS.flatMap((a) => [
  a,
  ...LEVELS.flatMap((b) => [`${a}/${b}`, ...LEVELS.map((c) => `${a}/${b}/${c}`)]),
]).filter((name) => name !== '');

describe('covers', () => {
  it('holds when, and only when, every name of the narrow filter is one of the wide filter', () => {
    fc.assert(
      fc.property(filterText, filterText, (wide, narrow) => {
        if (!covers(wide, narrow)) return;
        for (const name of NAMES)
          if (topicMatches(narrow, name)) expect([name, topicMatches(wide, name)]).toEqual([name, true]);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['#', 'a/#', true],
    ['a/#', 'a/#', true],
    ['a/#', 'a', true],
    ['a/#', 'a/+/b', true],
    ['a/#', '#', false],
    ['a/#', '+/b', false],
    ['a/+', 'a/+', true],
    ['a/+', 'a/#', false],
    ['+/attrs', '+/attrs', true],
    ['+/attrs', '#', false],
    ['+/+', 'a/+', true],
    ['a/+/c', 'a/b/#', false],
    ['+/#', '#', false],
    ['#', '$SYS/#', false],
    ['+/a', '$SYS/a', false],
    ['$SYS/#', '$SYS/a/+', true],
  ])('%s over %s is %s', (wide, narrow, expected) => {
    expect(covers(wide, narrow)).toBe(expected);
  });
});

describe('hasWildcard', () => {
  it('tells filters that match one name from the others', () => {
    expect(['a', 'a/b', '/', '#', 'a/#', '+', 'a/+/b'].map(hasWildcard)).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
      true,
    ]);
  });
});
