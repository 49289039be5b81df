// What clients did and saw, in the order in which it happened.
//
// One thread records, so a counter is a clock that no two events share; a history of several threads or machines needs a
// clock that they share, and gets it as an argument.

import type { KeyValue, MetaClient } from '../client/meta-client.js';
import { MetaError } from '../errors.js';
import type { ObservedOperation } from './linearizability.js';
import type { RegisterInput, RegisterOutput, SeenValue } from './register-model.js';

export type RegisterOperation = ObservedOperation<RegisterInput, RegisterOutput>;

/** How an operation ended for its client. `failed`: surely nothing was done. */
export type OperationEnd<Output> =
  | { readonly end: 'returned'; readonly output: Output }
  | { readonly end: 'failed' }
  | { readonly end: 'unknown' };

export interface HistoryRecord<Input, Output> extends ObservedOperation<Input, Output> {
  readonly end: 'open' | OperationEnd<Output>['end'];
}

type Draft<Input, Output> = {
  -readonly [Field in keyof HistoryRecord<Input, Output>]: HistoryRecord<Input, Output>[Field];
};

export class History<Input, Output> {
  readonly #now: () => number;
  readonly #records: Draft<Input, Output>[] = [];

  constructor(now?: () => number) {
    let events = 0;
    this.#now = now ?? (() => ++events);
  }

  /** Records the call; what it returns is to be called once with how it ended. Never called is `unknown`. */
  begin(client: string, partition: string, input: Input): (end: OperationEnd<Output>) => void {
    const record: Draft<Input, Output> = {
      client,
      partition,
      input,
      output: undefined,
      invokedAt: this.#now(),
      returnedAt: Number.POSITIVE_INFINITY,
      end: 'open',
    };
    this.#records.push(record);
    return (end) => {
      record.end = end.end;
      if (end.end === 'unknown') return;
      record.returnedAt = this.#now();
      if (end.end === 'returned') record.output = end.output;
    };
  }

  /** Everything, what failed included, for a client oracle. */
  get records(): readonly HistoryRecord<Input, Output>[] {
    return this.#records;
  }

  /** What a linearizability checker needs: what failed never was. */
  get operations(): readonly ObservedOperation<Input, Output>[] {
    return this.#records.filter((record) => record.end !== 'failed');
  }

  count(end: HistoryRecord<Input, Output>['end']): number {
    return this.#records.filter((record) => record.end === end).length;
  }
}

export type RegisterHistory = History<RegisterInput, RegisterOutput>;

/** Does it on a client of the store and records it. Resolves whatever happens; rejects for what is no MetaError. */
export async function recordOperation(
  history: RegisterHistory,
  { name, client }: { readonly name: string; readonly client: MetaClient },
  { key, input }: { readonly key: string; readonly input: RegisterInput },
): Promise<OperationEnd<RegisterOutput>> {
  const ended = history.begin(name, key, input);
  let end: OperationEnd<RegisterOutput>;
  try {
    end = { end: 'returned', output: await perform(client, key, input) };
  } catch (error) {
    if (!(error instanceof MetaError)) throw error;
    end = { end: error.next === 'unknown' || error.code === 'CLOSED' ? 'unknown' : 'failed' };
  }
  ended(end);
  return end;
}

async function perform(client: MetaClient, key: string, input: RegisterInput): Promise<RegisterOutput> {
  switch (input.op) {
    case 'get': {
      const { revision, kvs } = await client.range({ key });
      return { op: 'get', revision, seen: kvs[0] && seenValue(kvs[0]) };
    }
    case 'put':
      return { op: 'put', ...(await client.put(key, Buffer.from(input.value))) };
    case 'delete':
      return { op: 'delete', ...(await client.delete({ key })) };
    case 'cas': {
      const { expected } = input;
      const when =
        expected === undefined
          ? ({ key, target: 'version', is: 'equal', than: 0 } as const)
          : ({ key, target: 'value', is: 'equal', than: Buffer.from(expected) } as const);
      const put = { put: { key, value: Buffer.from(input.value) } };
      const { succeeded, revision } = await client.transact({ when: [when], then: [put] });
      return { op: 'cas', succeeded, revision };
    }
  }
}

export function seenValue({ value, modRevision, version }: KeyValue): SeenValue {
  return { value: value.toString(), modRevision, version };
}
