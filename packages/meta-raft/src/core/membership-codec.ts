// The payload of a membership entry. It is on disk and on the wire for as long as logs live, so its layout never
// changes; another layout is another version.
//
//   u8   version: 1, or 2 when a step is of kind 4 or 5
//   u8   kind: 1 initial, 2 simple, 3 joint left by the leader, 4 joint left explicitly, 5 leave
//   u16  number of steps
//   per step:
//   u8   1 add voter, 2 add learner, 3 remove, 4 retire, 5 address      (in kind 1 always 1: the founding voters)
//   u64  node id
//   of kind 5 only: u32 length and the address in UTF-8
//
// Example, the founding of a cluster of node 1:  01 01 0001 01 0000000000000001

import { ByteReader, UnexpectedEnd } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import type { MembershipChange, MembershipStep, NodeId } from './types.js';

const VERSION = 1;
const VERSION_WITH_ADDRESSES = 2;
const KINDS = ['initial', 'simple', 'joint-auto', 'joint-explicit', 'leave'] as const;
const CHANGES = ['add-voter', 'add-learner', 'remove', 'retire', 'address'] as const;
/** Of version 1. */
const PLAIN_CHANGES = 3;

export function encodeMembershipChange(change: MembershipChange): Buffer {
  const kind = change.kind === 'joint' ? (`joint-${change.leave}` as const) : change.kind;
  const steps = stepsOf(change);
  const writer = new ByteWriter(4 + steps.length * 9);
  const isPlain = steps.every(({ change: kindOfStep }) => CHANGES.indexOf(kindOfStep) < PLAIN_CHANGES);
  writer
    .u8(isPlain ? VERSION : VERSION_WITH_ADDRESSES)
    .u8(KINDS.indexOf(kind) + 1)
    .u16(steps.length);
  for (const step of steps) {
    writer.u8(CHANGES.indexOf(step.change) + 1).u64(step.node);
    if (step.change === 'address') writer.string(step.address);
  }
  return writer.finish();
}

/** Undefined when the bytes are no change this version knows: every node then takes it for one without effect. */
export function decodeMembershipChange(payload: Buffer): MembershipChange | undefined {
  try {
    return decode(new ByteReader(payload));
  } catch (error) {
    if (error instanceof UnexpectedEnd || error instanceof RangeError) return undefined;
    throw error;
  }
}

function decode(reader: ByteReader): MembershipChange | undefined {
  const version = reader.u8();
  if (version !== VERSION && version !== VERSION_WITH_ADDRESSES) return undefined;
  const kind = KINDS[reader.u8() - 1];
  const steps: MembershipStep[] = [];
  for (let left = reader.u16(); left > 0; left--) {
    const code = reader.u8();
    const change = CHANGES[code - 1];
    const node = reader.u64();
    if (change === undefined || node < 1 || (version === VERSION && code > PLAIN_CHANGES)) return undefined;
    steps.push(change === 'address' ? { change, node, address: reader.string() } : { change, node });
  }
  if (reader.left > 0) return undefined;
  switch (kind) {
    case 'initial':
      return steps.some((step) => step.change !== 'add-voter')
        ? undefined
        : { kind, voters: steps.map((step) => step.node) };
    case 'simple':
      return { kind, steps };
    case 'joint-auto':
      return { kind: 'joint', steps, leave: 'auto' };
    case 'joint-explicit':
      return { kind: 'joint', steps, leave: 'explicit' };
    case 'leave':
      return steps.length > 0 ? undefined : { kind };
    default:
      return undefined;
  }
}

function stepsOf(change: MembershipChange): readonly MembershipStep[] {
  if (change.kind === 'leave') return [];
  if (change.kind === 'initial') return change.voters.map((node: NodeId) => ({ change: 'add-voter', node }));
  return change.steps;
}
