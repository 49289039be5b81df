import { describe, expect, it } from '@jest/globals';
import { createPrng } from '@robustmq/stdx/prng';
import fc from 'fast-check';
import type { QoS } from '../codec/packets.js';
import { createShareStrategy, type ShareMember } from '../share/share-strategy.js';
import { type Subscription, SubscriptionIndex } from './subscription-index.js';
import { topicMatches } from './topic-filter.js';

class Session implements ShareMember {
  readonly clientId: string;
  readonly canTakeMessage = true;
  readonly inflightCount = 0;
  readonly isLocal = true;
  constructor(clientId: string) {
    this.clientId = clientId;
  }
}

const newIndex = (cachedReceiversMax?: number) =>
  new SubscriptionIndex<Session>({
    ...(cachedReceiversMax === undefined ? {} : { cachedReceiversMax }),
    strategyFor: () => createShareStrategy('round_robin', createPrng(1)),
  });

function to(session: Session, options: Partial<Subscription<Session>> = {}): Subscription<Session> {
  return { session, qos: 0, noLocal: false, retainAsPublished: false, subscriptionIdentifier: undefined, ...options };
}

const a = new Session('a');
const b = new Session('b');

describe('a match', () => {
  it('[MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] merges the filters of one session', () => {
    const index = newIndex();
    index.add('t/#', to(a, { qos: 0, subscriptionIdentifier: 1 }));
    index.add('t/+', to(a, { qos: 2, subscriptionIdentifier: 2, retainAsPublished: true }));
    index.add('t/1', to(a, { qos: 1, subscriptionIdentifier: 1 }));
    index.add('#', to(b, { qos: 1 }));
    const { deliveries } = index.match('t/1');
    expect(deliveries).toHaveLength(2);
    const forA = deliveries.find(({ session }) => session === a);
    expect(forA).toMatchObject({ qos: 2, retainAsPublished: true });
    // The same identifier twice, because two subscriptions have it (§3.3.4).
    expect([...(forA?.subscriptionIdentifiers ?? [])].sort()).toEqual([1, 1, 2]);
    expect(deliveries.find(({ session }) => session === b)).toMatchObject({
      qos: 1,
      subscriptionIdentifiers: undefined,
    });
  });

  it('[MQTT-3.8.3-3] leaves the publisher out of its no-local subscriptions only', () => {
    const index = newIndex();
    index.add('t', to(a, { noLocal: true, qos: 2, subscriptionIdentifier: 1 }));
    expect(index.match('t').deliveries[0]?.toPublisher).toBeUndefined();
    index.add('#', to(a, { noLocal: true }));
    expect(index.match('t').deliveries[0]?.toPublisher).toBeUndefined();
    index.add('+', to(a, { qos: 1, subscriptionIdentifier: 3 }));
    const [delivery] = index.match('t').deliveries;
    expect(delivery).toMatchObject({ qos: 2 });
    expect(delivery?.toPublisher).toMatchObject({ qos: 1, subscriptionIdentifiers: [3] });
    index.add('t', to(a, { qos: 2 }));
    index.remove('#', a);
    expect(index.match('t').deliveries[0]?.toPublisher).toBe(index.match('t').deliveries[0]);
  });

  it('[MQTT-3.8.4-3] replaces a subscription to the same filter', () => {
    const index = newIndex();
    expect(index.add('t', to(a, { qos: 2, subscriptionIdentifier: 1 }))).toBe('added');
    expect(index.add('t', to(a, { qos: 1 }))).toBe('replaced');
    expect(index.match('t').deliveries).toMatchObject([{ qos: 1, subscriptionIdentifiers: undefined }]);
    expect(index.size).toBe(1);
    expect(index.remove('t', b)).toBe(false);
    expect(index.remove('t', a)).toBe(true);
    expect(index.remove('t', a)).toBe(false);
    expect(index.match('t').isEmpty).toBe(true);
    expect(index.size).toBe(0);
  });

  it('names shared groups beside the sessions', () => {
    const index = newIndex();
    index.add('t', to(a));
    const name = { group: 'g', filter: 't/#' };
    expect(index.addShared(name, to(a))).toBe('added');
    expect(index.addShared(name, to(a, { qos: 1 }))).toBe('replaced');
    expect(index.addShared({ group: 'h', filter: 't/#' }, to(b))).toBe('added');
    expect(index.addShared({ group: 'g', filter: '+' }, to(b))).toBe('added');
    const { deliveries, groups } = index.match('t');
    expect(deliveries).toHaveLength(1);
    expect(groups.map(({ group, filter }) => `${group} ${filter}`).sort()).toEqual(['g +', 'g t/#', 'h t/#']);
    expect(index.removeShared(name, b)).toBe(false);
    expect(index.removeShared(name, a)).toBe(true);
    expect(index.match('t').groups).toHaveLength(2);
    expect(index.size).toBe(3);
  });
});

describe('a result', () => {
  it('stays the same object until a subscription changes that could match', () => {
    const index = newIndex();
    index.add('plant/1/temp', to(a));
    const result = index.match('plant/1/temp');
    result.attachment = 'mine';
    index.add('plant/2/temp', to(a)); // another topic
    index.add('plant/2/#', to(a)); // another second level
    index.add('office/+/temp', to(a)); // another first level
    expect(index.match('plant/1/temp')).toBe(result);
    index.add('plant/+/temp', to(b));
    const next = index.match('plant/1/temp');
    expect(next).not.toBe(result);
    expect(next.attachment).toBeUndefined();
    expect(next.deliveries).toHaveLength(2);
  });

  it.each(['t', '#', '+', 't/#', 't/u', 't/+', '+/u', 't/u/#'])('is renewed when %s changes', (filter) => {
    const index = newIndex();
    const name = filter === 't' || filter === '+' ? 't' : 't/u';
    expect(index.match(name).isEmpty).toBe(true);
    index.add(filter, to(a));
    expect(index.match(name).deliveries).toHaveLength(1);
    index.remove(filter, a);
    expect(index.match(name).isEmpty).toBe(true);
    index.addShared({ group: 'g', filter }, to(a));
    expect(index.match(name).groups).toHaveLength(1);
    index.removeShared({ group: 'g', filter }, a);
    expect(index.match(name).isEmpty).toBe(true);
  });

  it('is kept for a bounded number of topics', () => {
    const index = newIndex(1600);
    for (let i = 0; i < 1000; i++) expect(index.match(`t/${i}`).isEmpty).toBe(true);
    expect(index.cachedTopics).toBeLessThanOrEqual(100);
    const hot = index.match('hot');
    for (let i = 0; i < 1000; i++) {
      index.match(`u/${i}`);
      expect(index.match('hot')).toBe(hot);
    }
  });

  it('counts by its receivers against that bound, and is kept even when it alone exceeds it', () => {
    const index = newIndex(1000);
    for (let i = 0; i < 300; i++) index.add('wide/#', to(new Session(`c${i}`)));
    for (let i = 0; i < 700; i++) index.add('wider/#', to(new Session(`d${i}`)));
    for (let i = 0; i < 100; i++) index.match(`wide/${i}`);
    expect(index.cachedTopics).toBeLessThanOrEqual(2);
    const wider = index.match('wider/1');
    expect(index.match('wider/1')).toBe(wider);
  });

  it('shares its list of receivers with other topics where one filter matches', () => {
    const index = newIndex();
    index.add('#', to(a));
    index.add('#', to(b));
    expect(index.match('t').deliveries).toBe(index.match('u').deliveries);
    index.remove('#', a);
    expect(index.match('t').deliveries.map(({ session }) => session)).toEqual([b]);
  });
});

const FILTERS = [
  '#',
  '+',
  'a',
  'b',
  'a/#',
  'a/+',
  '+/b',
  'a/b',
  'a/b/#',
  'a/b/c',
  '+/+/c',
  'a/+/c',
  '$s/#',
  '$s/+',
  '__proto__',
  '__proto__/#',
];
const NAMES = ['a', 'b', 'a/b', 'a/b/c', 'b/b', '$s', '$s/x', '__proto__', '__proto__/x', 'a/'];

interface Step {
  readonly kind: 'add' | 'remove' | 'match';
  readonly filter: string;
  readonly who: number;
  readonly qos: QoS;
  readonly noLocal: boolean;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('add' as const, 'add' as const, 'remove' as const, 'match' as const),
    filter: fc.constantFrom(...FILTERS),
    who: fc.nat({ max: 3 }),
    qos: fc.constantFrom<QoS>(0, 1, 2),
    noLocal: fc.boolean(),
  }),
  { maxLength: 60 },
);

/** What the index must answer, worked out from the list of all subscriptions. */
function expectedFor(model: Map<string, Subscription<Session>>, name: string) {
  const bySession = new Map<Session, Subscription<Session>[]>();
  for (const [key, subscription] of model) {
    if (!topicMatches(key.slice(2), name)) continue;
    bySession.set(subscription.session, [...(bySession.get(subscription.session) ?? []), subscription]);
  }
  const qosOf = (list: readonly Subscription<Session>[]) => Math.max(...list.map(({ qos }) => qos));
  return [...bySession].map(([session, list]) => {
    const foreign = list.filter(({ noLocal }) => !noLocal);
    return [session.clientId, qosOf(list), foreign.length === 0 ? 'nothing' : qosOf(foreign)];
  });
}

describe('SubscriptionIndex', () => {
  it('answers like a list of all subscriptions, whatever changes and is cached in between', () => {
    fc.assert(
      fc.property(steps, (steps) => {
        const sessions = [0, 1, 2, 3].map((who) => new Session(`c${who}`));
        const index = newIndex(8);
        const model = new Map<string, Subscription<Session>>();
        for (const { kind, filter, who, qos, noLocal } of steps) {
          const session = sessions[who] as Session; // who is 0 to 3
          const key = `${who} ${filter}`;
          if (kind === 'add') {
            const subscription = to(session, { qos, noLocal });
            index.add(filter, subscription);
            model.set(key, subscription);
          } else if (kind === 'remove') expect(index.remove(filter, session)).toBe(model.delete(key));
          for (const name of NAMES) {
            const answer = index
              .match(name)
              .deliveries.map(({ session, qos, toPublisher }) => [
                session.clientId,
                qos,
                toPublisher?.qos ?? 'nothing',
              ]);
            expect([name, answer.sort()]).toEqual([name, expectedFor(model, name).sort()]);
          }
        }
        expect(index.size).toBe(model.size);
      }),
      { numRuns: 150 },
    );
  });
});
