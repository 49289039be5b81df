// One key of the store, as a sequential model: what each operation may answer, one after the other.
//
// Revisions belong to the whole store, so one key cannot tell what the next one is. It can tell what it is not: a
// change has a higher revision than everything that was seen before it, and a read answers with a revision no lower.

import type { SequentialModel } from './linearizability.js';

export type RegisterInput =
  | { readonly op: 'get' }
  | { readonly op: 'put'; readonly value: string }
  | { readonly op: 'delete' }
  /** Puts `value` when the key has the value expected; undefined: when it is absent. */
  | { readonly op: 'cas'; readonly expected: string | undefined; readonly value: string };

export interface SeenValue {
  readonly value: string;
  readonly modRevision: number;
  readonly version: number;
}

/** `revision` is the one of the change, or the newest of the store that answered. */
export type RegisterOutput =
  | { readonly op: 'get'; readonly revision: number; readonly seen: SeenValue | undefined }
  | { readonly op: 'put'; readonly revision: number }
  | { readonly op: 'delete'; readonly revision: number; readonly deleted: number }
  | { readonly op: 'cas'; readonly revision: number; readonly succeeded: boolean };

export interface RegisterState {
  /** undefined: the key is absent. */
  readonly value: string | undefined;
  /** 0 while the key is absent. */
  readonly version: number;
  readonly modRevision: number;
  /** `least` after a write of unknown outcome: nobody was told its revision. */
  readonly modRevisionIs: 'exact' | 'least';
  /** The store was at this revision or beyond. */
  readonly floor: number;
}

const ABSENT: RegisterState = { value: undefined, version: 0, modRevision: 0, modRevisionIs: 'exact', floor: 0 };

export const registerModel: SequentialModel<RegisterState, RegisterInput, RegisterOutput> = {
  initial: ABSENT,
  step(state, input, output) {
    switch (input.op) {
      case 'get':
        return output === undefined ? state : output.op === 'get' ? afterGet(state, output) : undefined;
      case 'put':
        return afterPut(state, input.value, output?.revision);
      case 'delete':
        return afterDelete(state, output?.op === 'delete' ? output : undefined);
      case 'cas': {
        const holds = state.value === input.expected;
        if (output !== undefined && output.op === 'cas' && output.succeeded !== holds) return undefined;
        return holds ? afterPut(state, input.value, output?.revision) : afterNothing(state, output?.revision);
      }
    }
  },
  equal: (a, b) =>
    a.value === b.value &&
    a.version === b.version &&
    a.modRevision === b.modRevision &&
    a.modRevisionIs === b.modRevisionIs &&
    a.floor === b.floor,
  hash(state) {
    let hash = Math.imul(state.floor, 0x01000193) ^ Math.imul(state.modRevision, 31) ^ state.version;
    for (let i = 0; i < (state.value?.length ?? 0); i++) {
      hash = Math.imul(hash ^ (state.value?.charCodeAt(i) ?? 0), 0x01000193);
    }
    return hash | 0;
  },
};

function afterPut(state: RegisterState, value: string, revision: number | undefined): RegisterState | undefined {
  if (revision !== undefined && revision <= state.floor) return undefined;
  const modRevision = revision ?? state.floor + 1;
  return {
    value,
    version: state.version + 1,
    modRevision,
    modRevisionIs: revision === undefined ? 'least' : 'exact',
    floor: modRevision,
  };
}

function afterDelete(
  state: RegisterState,
  output: { readonly revision: number; readonly deleted: number } | undefined,
): RegisterState | undefined {
  const present = state.value !== undefined;
  if (output && output.deleted !== Number(present)) return undefined;
  if (!present) return afterNothing(state, output?.revision);
  if (output && output.revision <= state.floor) return undefined;
  return { ...ABSENT, floor: output?.revision ?? state.floor + 1 };
}

/** Nothing changed; the answer tells how far the store has come at least. */
function afterNothing(state: RegisterState, revision: number | undefined): RegisterState | undefined {
  if (revision === undefined || revision === state.floor) return state;
  return revision < state.floor ? undefined : { ...state, floor: revision };
}

function afterGet(
  state: RegisterState,
  { revision, seen }: Extract<RegisterOutput, { readonly op: 'get' }>,
): RegisterState | undefined {
  const after = afterNothing(state, revision);
  if (!after || seen?.value !== state.value) return undefined;
  if (!seen) return after;
  if (seen.version !== state.version || seen.modRevision > revision) return undefined;
  const fits =
    state.modRevisionIs === 'exact' ? seen.modRevision === state.modRevision : seen.modRevision >= state.modRevision;
  return fits ? { ...after, modRevision: seen.modRevision, modRevisionIs: 'exact' } : undefined;
}
