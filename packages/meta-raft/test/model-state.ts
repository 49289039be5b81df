// For tests: the rules of the state once more, as plainly as they can be written. Every read walks everything,
// every transaction works on a copy.

import type { CommandBody, CommandResult, Condition, RangeQuery, StateOperation } from '../src/state/command.js';
import { rejected } from '../src/state/command.js';
import { rangeContains } from '../src/state/key-range.js';
import { isLeaseId } from '../src/state/meta-state.js';
import type { LiveVersion } from '../src/state/record.js';

interface ModelKey {
  value: Buffer;
  createRevision: number;
  modRevision: number;
  version: number;
  lease: string | undefined;
}

type Keys = Map<string, ModelKey>;

export class ModelState {
  revision = 1;
  #compacted = 0;
  /** The whole state after each revision. */
  #history: Keys[] = [new Map(), new Map()];
  #leases = new Map<string, number>();

  get liveKeys(): number {
    return this.#keys.size;
  }

  get #keys(): Keys {
    return this.#history[this.revision] ?? new Map();
  }

  apply(body: CommandBody, index: number): CommandResult {
    switch (body.kind) {
      case 'transact':
        return this.#transact(body);
      case 'grant-lease':
        if (!isLeaseId(body.id) || body.ttlMs < 1) return rejected('INVALID', '');
        if (this.#leases.has(body.id)) return rejected('LEASE_EXISTS', '');
        this.#leases.set(body.id, index);
        return { kind: 'lease-granted', id: body.id, ttlMs: body.ttlMs, revision: this.revision };
      case 'revoke-lease':
        return this.#removeLease(body.id);
      case 'expire-lease':
        if (this.#leases.get(body.id) !== body.grantIndex) return rejected('LEASE_NOT_FOUND', '');
        return this.#removeLease(body.id);
      default:
        if (body.revision > this.revision) return rejected('FUTURE_REVISION', '');
        if (body.revision <= this.#compacted) return rejected('COMPACTED', '');
        this.#compacted = body.revision;
        return { kind: 'compacted', revision: this.revision };
    }
  }

  range(query: RangeQuery) {
    if (query.revision > this.revision) return 'FUTURE_REVISION';
    if (query.revision > 0 && query.revision < this.#compacted) return 'COMPACTED';
    return this.#read(this.#history[query.revision || this.revision] ?? new Map(), query);
  }

  #transact(body: Extract<CommandBody, { kind: 'transact' }>): CommandResult {
    if (repeats(body.then) || repeats(body.otherwise)) return rejected('DUPLICATE_KEY', '');
    const branch = body.when.every((condition) => this.#holds(condition)) ? 'then' : 'otherwise';
    for (const operation of body[branch]) {
      if (operation.op === 'put') {
        const keeps = operation.value === 'keep' || operation.lease === 'keep';
        if (keeps && !this.#keys.has(operation.key)) return rejected('KEY_NOT_FOUND', '');
        const lease = operation.lease === 'keep' ? undefined : operation.lease;
        if (lease !== undefined && !this.#leases.has(lease)) return rejected('LEASE_NOT_FOUND', '');
      }
      if (operation.op === 'range') {
        const answer = this.range(operation);
        if (answer === 'COMPACTED' || answer === 'FUTURE_REVISION') return rejected(answer, '');
      }
    }
    const next: Keys = new Map(this.#keys);
    let writes = 0;
    const answers = body[branch].map((operation) => {
      const [answer, written] = this.#execute(next, operation);
      writes += written;
      return answer;
    });
    if (writes > 0) {
      this.revision++;
      this.#history[this.revision] = next;
    }
    return { kind: 'transacted', branch, revision: this.revision, answers } as unknown as CommandResult; // the summary reads it
  }

  #execute(keys: Keys, operation: StateOperation): [unknown, number] {
    if (operation.op === 'range') {
      const read = this.#read(operation.revision === 0 ? keys : (this.#history[operation.revision] ?? keys), operation);
      const kvs = read.kvs.map((line) => {
        const [, key = '', value = '', at = ''] = /^(.*)=(.*)@(\d+)$/s.exec(line) ?? [];
        return { key, value: Buffer.from(value), modRevision: Number(at) };
      });
      return [{ op: 'range', ...read, kvs }, 0];
    }
    if (operation.op === 'delete') {
      const gone = sorted(keys).filter(([key]) => rangeContains(operation.range, key as LiveVersion['key']));
      for (const [key] of gone) keys.delete(key);
      const previous = operation.returns === 'previous' ? gone.map(([, one]) => one) : [];
      return [{ op: 'delete', deleted: gone.length, previous }, gone.length];
    }
    const before = keys.get(operation.key);
    const modRevision = this.revision + 1;
    keys.set(operation.key, {
      value: operation.value === 'keep' ? (before?.value ?? Buffer.alloc(0)) : operation.value,
      lease: operation.lease === 'keep' ? before?.lease : operation.lease,
      createRevision: before?.createRevision ?? modRevision,
      modRevision,
      version: (before?.version ?? 0) + 1,
    });
    return [{ op: 'put', previous: operation.returns === 'previous' ? before : undefined }, 1];
  }

  #removeLease(id: string): CommandResult {
    if (!this.#leases.delete(id)) return rejected('LEASE_NOT_FOUND', '');
    const next: Keys = new Map([...this.#keys].filter(([, one]) => one.lease !== id));
    const deleted = this.#keys.size - next.size;
    if (deleted > 0) {
      this.revision++;
      this.#history[this.revision] = next;
    }
    return { kind: 'lease-revoked', id, revision: this.revision, deleted };
  }

  #read(keys: Keys, query: RangeQuery) {
    const matching = sorted(keys).filter(([key]) => rangeContains(query.range, key as LiveVersion['key']));
    const bounded = matching.filter(
      ([, one]) => inside(one.modRevision, query.modRevision) && inside(one.createRevision, query.createRevision),
    );
    const { sort } = query;
    if (sort) {
      const factor = sort.order === 'ascending' ? 1 : -1;
      bounded.sort((a, b) => factor * compareBy(sort.by, a, b));
    }
    const wanted = query.returns === 'count' ? [] : bounded;
    const kvs = query.limit > 0 ? wanted.slice(0, query.limit) : wanted;
    const text = ([key, one]: [string, ModelKey]) =>
      `${key}=${query.returns === 'keys' ? '' : one.value.toString()}@${one.modRevision}`;
    return { kvs: kvs.map(text), count: matching.length, more: kvs.length < wanted.length };
  }

  #holds(condition: Condition): boolean {
    const met = [...this.#keys].filter(([key]) => rangeContains(condition.range, key as LiveVersion['key']));
    if (met.length === 0) return condition.target !== 'value' && relates(condition, undefined);
    return met.every(([, one]) => relates(condition, one));
  }
}

function relates(condition: Condition, one: ModelKey | undefined): boolean {
  const order = (() => {
    if (condition.target === 'value') return Buffer.compare(one?.value ?? Buffer.alloc(0), condition.than);
    if (condition.target === 'lease') {
      const [a, b] = [BigInt(one?.lease ?? 0), BigInt(condition.than ?? 0)];
      return a < b ? -1 : a > b ? 1 : 0;
    }
    return (one?.[condition.target] ?? 0) - condition.than;
  })();
  const holds = { equal: order === 0, notEqual: order !== 0, less: order < 0, greater: order > 0 };
  return holds[condition.is];
}

function repeats(operations: readonly StateOperation[]): boolean {
  const puts = operations.filter((operation) => operation.op === 'put').map((operation) => operation.key);
  const deletes = operations.filter((operation) => operation.op === 'delete').map((operation) => operation.range);
  return new Set(puts).size < puts.length || puts.some((key) => deletes.some((range) => rangeContains(range, key)));
}

function sorted(keys: Keys): [string, ModelKey][] {
  return [...keys].sort(([a], [b]) => (a < b ? -1 : 1));
}

function inside(revision: number, bounds: { min: number; max: number } | undefined): boolean {
  return !bounds || ((bounds.min === 0 || revision >= bounds.min) && (bounds.max === 0 || revision <= bounds.max));
}

function compareBy(by: string, [keyA, a]: [string, ModelKey], [keyB, b]: [string, ModelKey]): number {
  if (by === 'key') return keyA < keyB ? -1 : 1;
  if (by === 'value') return Buffer.compare(a.value, b.value);
  const field = by as 'version' | 'createRevision' | 'modRevision'; // what is left of SortTarget
  return a[field] - b[field];
}
