// For tests: commands as fast-check draws them, few keys and leases so that they meet.

import fc from 'fast-check';
import type { CommandBody, Condition, RangeQuery, StateOperation } from '../src/state/command.js';
import { type KeyBytes, keyFromText, prefixRange, singleKey } from '../src/state/key-range.js';

export const key: fc.Arbitrary<KeyBytes> = fc
  .constantFrom('a', 'a/1', 'a/2', 'ab', 'b', 'ü', '\u{10000}')
  .map(keyFromText);
const range = fc.oneof(
  key.map(singleKey),
  fc.constantFrom('', 'a', 'a/').map((prefix) => prefixRange(keyFromText(prefix))),
);
const value = fc.constantFrom('', 'x', 'y', 'zz').map((text) => Buffer.from(text));
const leaseId = fc.constantFrom('1', '2', '9223372036854775807');
const lease = fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: leaseId });
const returns = fc.constantFrom('previous' as const, 'nothing' as const);
const is = fc.constantFrom('equal' as const, 'notEqual' as const, 'less' as const, 'greater' as const);

const condition: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({
    range,
    is,
    target: fc.constantFrom('version' as const, 'createRevision' as const, 'modRevision' as const),
    than: fc.nat(12),
  }),
  fc.record({ range, is, target: fc.constant('value' as const), than: value }),
  fc.record({ range, is, target: fc.constant('lease' as const), than: lease }),
);

export const query: fc.Arbitrary<RangeQuery> = fc.record(
  {
    range,
    revision: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(20) }),
    limit: fc.nat(3),
    returns: fc.constantFrom('keys-and-values' as const, 'keys' as const, 'count' as const),
    sort: fc.record({
      by: fc.constantFrom(
        'key' as const,
        'version' as const,
        'createRevision' as const,
        'modRevision' as const,
        'value' as const,
      ),
      order: fc.constantFrom('ascending' as const, 'descending' as const),
    }),
    modRevision: fc.record({ min: fc.nat(5), max: fc.nat(20) }),
    createRevision: fc.record({ min: fc.nat(5), max: fc.nat(20) }),
  },
  { requiredKeys: ['range', 'revision', 'limit', 'returns'] },
);

const operation: fc.Arbitrary<StateOperation> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('put' as const),
      key,
      value: fc.oneof({ weight: 5, arbitrary: value }, { weight: 1, arbitrary: fc.constant('keep' as const) }),
      lease: fc.oneof({ weight: 5, arbitrary: lease }, { weight: 1, arbitrary: fc.constant('keep' as const) }),
      returns,
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('delete' as const), range, returns }) },
  { weight: 1, arbitrary: query.map((drawn) => ({ op: 'range' as const, ...drawn })) },
);

const operations = fc.array(operation, { maxLength: 4 });

export const transaction = fc.record({
  kind: fc.constant('transact' as const),
  when: fc.array(condition, { maxLength: 2 }),
  then: operations,
  otherwise: operations,
});

export const commandBody: fc.Arbitrary<CommandBody> = fc.oneof(
  { weight: 8, arbitrary: transaction },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('grant-lease' as const), id: leaseId, ttlMs: fc.nat(5000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('revoke-lease' as const), id: leaseId }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('expire-lease' as const), id: leaseId, grantIndex: fc.nat(20) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('compact' as const), revision: fc.nat(20) }) },
);
