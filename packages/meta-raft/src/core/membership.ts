// Who takes part, and how that changes: pure functions from one membership to the next.
//
// They run at the time an entry is applied, with the same result on every node. A change that is not legal
// then changes nothing, everywhere: what the leader checks when it proposes is a courtesy to the caller.
//
// Invariants of every membership that comes out:
//   B1. voters and learners are disjoint; so are votersOutgoing and learners.
//   B2. learnersNext is a part of votersOutgoing.
//   B3. Not joint: votersOutgoing and learnersNext are empty, autoLeave is false.
//   B4. Once there was a voter there is always one.
//   B5. A retired node is no member, and never becomes one again. Only members have an address.

import { assert } from '@robustmq/stdx/assert';
import type { MemberAddress, Membership, MembershipChange, MembershipStep, NodeId } from './types.js';

export const NO_MEMBERSHIP: Membership = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

export type MembershipOutcome =
  | { readonly outcome: 'changed'; readonly membership: Membership }
  | { readonly outcome: 'illegal'; readonly reason: string };

export function changeMembership(current: Membership, change: MembershipChange): MembershipOutcome {
  switch (change.kind) {
    case 'initial':
      return found(current, change.voters);
    case 'simple':
      return changeSimply(current, change.steps);
    case 'joint':
      return enterJoint(current, change.steps, change.leave);
    case 'leave':
      return leaveJoint(current);
  }
}

export function isJoint(membership: Membership): boolean {
  return membership.votersOutgoing.length > 0;
}

/** In either half of a joint configuration. */
export function isVoter(membership: Membership, node: NodeId): boolean {
  return membership.voters.includes(node) || membership.votersOutgoing.includes(node);
}

export function isMember(membership: Membership, node: NodeId): boolean {
  return isVoter(membership, node) || membership.learners.includes(node);
}

/** Everybody who receives the log, sorted. */
export function allMembers(membership: Membership): NodeId[] {
  return sorted([...membership.voters, ...membership.votersOutgoing, ...membership.learners]);
}

function found(current: Membership, voters: readonly NodeId[]): MembershipOutcome {
  if (current.voters.length > 0) return illegal('the cluster has been founded before');
  if (voters.length === 0) return illegal('a cluster needs at least one voter');
  return changed({ ...NO_MEMBERSHIP, voters: sorted(voters) });
}

function changeSimply(current: Membership, steps: readonly MembershipStep[]): MembershipOutcome {
  if (revives(current, steps)) return illegal(ID_USED);
  if (isJoint(current)) return illegal('a joint configuration must be left first');
  const next = takeSteps(current, steps);
  if (next.voters.length === 0) return illegal('the last voter cannot be removed');
  const joined = next.voters.filter((node) => !current.voters.includes(node)).length;
  const left = current.voters.filter((node) => !next.voters.includes(node)).length;
  // Two majorities of voter sets that differ by more than one need not share a node.
  if (joined + left > 1) return illegal('more than one voter changes at once; enter a joint configuration');
  return changed(next);
}

function enterJoint(
  current: Membership,
  steps: readonly MembershipStep[],
  leave: 'auto' | 'explicit',
): MembershipOutcome {
  if (revives(current, steps)) return illegal(ID_USED);
  if (isJoint(current)) return illegal('a joint configuration must be left first');
  if (current.voters.length === 0) return illegal('there is no configuration to join with');
  const next = takeSteps({ ...current, votersOutgoing: current.voters, autoLeave: leave === 'auto' }, steps);
  if (next.voters.length === 0) return illegal('the last voter cannot be removed');
  return changed(next);
}

function leaveJoint(current: Membership): MembershipOutcome {
  if (!isJoint(current)) return illegal('there is no joint configuration to leave');
  return changed({
    ...current,
    votersOutgoing: [],
    learners: sorted([...current.learners, ...current.learnersNext]),
    learnersNext: [],
    autoLeave: false,
  });
}

function takeSteps(from: Membership, steps: readonly MembershipStep[]): Membership {
  return steps.reduce(takeStep, from);
}

function takeStep(from: Membership, step: MembershipStep): Membership {
  const { node } = step;
  if (step.change === 'address') return moveTo(from, step);
  const voters = without(from.voters, node);
  const learners = without(from.learners, node);
  const learnersNext = without(from.learnersNext, node);
  switch (step.change) {
    case 'add-voter':
      return { ...from, voters: sorted([...voters, node]), learners, learnersNext };
    case 'retire':
      return { ...from, voters, learners, learnersNext, retired: sorted([...(from.retired ?? []), node]) };
    case 'remove':
      return { ...from, voters, learners, learnersNext };
    case 'add-learner':
      // A voter of the outgoing half goes on voting until the joint configuration is left (B1, B2).
      return from.votersOutgoing.includes(node)
        ? { ...from, voters, learners, learnersNext: sorted([...learnersNext, node]) }
        : { ...from, voters, learners: sorted([...learners, node]), learnersNext };
  }
}

function moveTo(from: Membership, { node, address }: MemberAddress): Membership {
  const others = (from.addresses ?? []).filter((other) => other.node !== node);
  return { ...from, addresses: [...others, { node, address }].sort((a, b) => a.node - b.node) };
}

const ID_USED = 'the id was used by a node that was removed; give the new node another one';

function revives({ retired = [] }: Membership, steps: readonly MembershipStep[]): boolean {
  return steps.some(({ change, node }) => change.startsWith('add-') && retired.includes(node));
}

/** B5: who left keeps no address. */
function withoutStrangers(membership: Membership): Membership {
  const { addresses, ...rest } = membership;
  const kept = addresses?.filter(({ node }) => isMember(membership, node)) ?? [];
  return kept.length > 0 ? { ...rest, addresses: kept } : rest;
}

function changed(given: Membership): MembershipOutcome {
  const membership = withoutStrangers(given);
  const { voters, votersOutgoing, learners, learnersNext } = membership;
  assert(voters.length > 0, 'B4: there is a voter');
  assert(!learners.some((node) => isVoter(membership, node)), 'B1: no node is a voter and a learner');
  assert(
    learnersNext.every((node) => votersOutgoing.includes(node)),
    'B2: who becomes a learner is a voter of the outgoing half',
  );
  assert(
    votersOutgoing.length > 0 || (learnersNext.length === 0 && !membership.autoLeave),
    'B3: nothing joint is left over',
  );
  return { outcome: 'changed', membership };
}

function illegal(reason: string): MembershipOutcome {
  return { outcome: 'illegal', reason };
}

function without(nodes: readonly NodeId[], node: NodeId): readonly NodeId[] {
  return nodes.includes(node) ? nodes.filter((other) => other !== node) : nodes;
}

function sorted(nodes: readonly NodeId[]): NodeId[] {
  return [...new Set(nodes)].sort((a, b) => a - b);
}
