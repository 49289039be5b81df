// Between the messages of the core and those of the wire (raft.proto). What does not decode is a RangeError.

import { assert, unreachable } from '@robustmq/stdx/assert';
import type {
  AppendResponse,
  Entry,
  EntryKind,
  InstallSnapshot,
  LogPosition,
  Membership,
  Message,
} from '../core/types.js';
import type { GroupMessage } from '../driver/peer-transport.js';
import {
  type SnapshotHeader,
  VotePhase,
  type Entry as WireEntry,
  EntryKind as WireEntryKind,
  type GroupMessage as WireGroupMessage,
  type LogPosition as WireLogPosition,
} from '../gen/robustmq/raft/v1/raft.js';

type Body = NonNullable<WireGroupMessage['body']>;

const ENTRY_KINDS: Readonly<Record<EntryKind, WireEntryKind>> = {
  empty: WireEntryKind.EMPTY,
  command: WireEntryKind.COMMAND,
  membership: WireEntryKind.MEMBERSHIP,
};

/** About what a message takes on the wire, without encoding it. */
export function messageBytes(message: Message): number {
  const HEADER_BYTES = 64;
  if (message.type !== 'append-request') return HEADER_BYTES;
  let bytes = HEADER_BYTES;
  for (const entry of message.entries) bytes += 24 + entry.payload.length;
  return bytes;
}

export function messageToWire({ group, message }: GroupMessage): WireGroupMessage {
  const { from, to, term } = message;
  return { group, from, to, term, body: bodyToWire(message) };
}

function bodyToWire(message: Message): Body {
  switch (message.type) {
    case 'vote-request':
    case 'pre-vote-request': {
      const transfer = message.reason === 'transfer';
      return { $case: 'voteRequest', value: { phase: phaseOf(message.type), lastLog: message.lastLog, transfer } };
    }
    case 'vote-response':
    case 'pre-vote-response':
      return {
        $case: 'voteResponse',
        value: {
          phase: phaseOf(message.type),
          granted: message.verdict === 'granted',
          committed: message.committed,
        },
      };
    case 'append-request': {
      const { previous, entries, commitIndex } = message;
      return { $case: 'appendRequest', value: { previous, entries: entries.map(entryToWire), commitIndex } };
    }
    case 'append-response':
      return { $case: 'appendResponse', value: { outcome: outcomeToWire(message) } };
    case 'heartbeat':
      return { $case: 'heartbeat', value: { commitIndex: message.commitIndex, readToken: message.readToken } };
    case 'heartbeat-response':
      return { $case: 'heartbeatResponse', value: { readToken: message.readToken } };
    case 'timeout-now':
      return { $case: 'timeoutNow', value: {} };
    case 'read-index-request':
      return { $case: 'readIndexRequest', value: { requestId: message.requestId } };
    case 'read-index-response':
      return { $case: 'readIndexResponse', value: { requestId: message.requestId, readIndex: message.readIndex } };
    case 'install-snapshot':
      assert(false, 'a snapshot travels on its own stream');
      break;
    default:
      return unreachable(message);
  }
}

function phaseOf(type: Message['type']): VotePhase {
  return type.startsWith('pre-') ? VotePhase.PRE_VOTE : VotePhase.VOTE;
}

function outcomeToWire({ outcome }: AppendResponse) {
  if (outcome.result === 'accepted') return { $case: 'accepted', value: outcome.matchIndex } as const;
  const { rejectedIndex, hint } = outcome;
  return { $case: 'rejected', value: { rejectedIndex, hint } } as const;
}

function entryToWire({ term, kind, payload }: Entry): WireEntry {
  return { term, kind: ENTRY_KINDS[kind], payload };
}

export function messageFromWire({ group, from, to, term, body }: WireGroupMessage): GroupMessage {
  if (group < 1 || group > 255) throw new RangeError(`group ${group}`);
  if (!body) throw new RangeError('a message without a body');
  return { group, message: bodyFromWire({ from, to, term }, body) };
}

type Header = Pick<Message, 'from' | 'to' | 'term'>;

function bodyFromWire(header: Header, body: Body): Message {
  switch (body.$case) {
    case 'voteRequest': {
      const { phase, lastLog, transfer } = body.value;
      const type = phase === VotePhase.PRE_VOTE ? 'pre-vote-request' : 'vote-request';
      return { ...header, type, lastLog: positionFromWire(lastLog), reason: transfer ? 'transfer' : 'election' };
    }
    case 'voteResponse': {
      const { phase, granted, committed } = body.value;
      const type = phase === VotePhase.PRE_VOTE ? 'pre-vote-response' : 'vote-response';
      return { ...header, type, verdict: granted ? 'granted' : 'rejected', committed: positionFromWire(committed) };
    }
    case 'appendRequest': {
      const previous = positionFromWire(body.value.previous);
      const entries = body.value.entries.map((entry, i) => entryFromWire(entry, previous.index + 1 + i));
      return { ...header, type: 'append-request', previous, entries, commitIndex: body.value.commitIndex };
    }
    case 'appendResponse':
      return { ...header, type: 'append-response', outcome: outcomeFromWire(body.value.outcome) };
    case 'heartbeat':
      return { ...header, type: 'heartbeat', ...body.value };
    case 'heartbeatResponse':
      return { ...header, type: 'heartbeat-response', ...body.value };
    case 'timeoutNow':
      return { ...header, type: 'timeout-now' };
    case 'readIndexRequest':
      return { ...header, type: 'read-index-request', ...body.value };
    case 'readIndexResponse':
      return {
        ...header,
        type: 'read-index-response',
        requestId: body.value.requestId,
        readIndex: body.value.readIndex,
      };
    default:
      return unreachable(body);
  }
}

type WireOutcome = Extract<Body, { readonly $case: 'appendResponse' }>['value']['outcome'];

function outcomeFromWire(outcome: WireOutcome): AppendResponse['outcome'] {
  if (outcome?.$case === 'accepted') return { result: 'accepted', matchIndex: outcome.value };
  if (outcome?.$case !== 'rejected') throw new RangeError('an append response without an outcome');
  const { rejectedIndex, hint } = outcome.value;
  return { result: 'rejected', rejectedIndex, hint: positionFromWire(hint) };
}

function entryFromWire({ term, kind, payload }: WireEntry, index: number): Entry {
  for (const [known, code] of Object.entries(ENTRY_KINDS)) {
    if (code === kind) return { index, term, kind: known as EntryKind, payload }; // a key of ENTRY_KINDS
  }
  throw new RangeError(`an entry of unknown kind ${kind}`);
}

function positionFromWire(position: WireLogPosition | undefined): LogPosition {
  if (!position) throw new RangeError('a message without its log position');
  return { index: position.index, term: position.term };
}

export function snapshotToWire(group: number, { term, snapshot }: InstallSnapshot): SnapshotHeader {
  const { index, term: snapshotTerm, membership } = snapshot;
  const { voters, votersOutgoing, learners, learnersNext, autoLeave, addresses = [], retired = [] } = membership;
  return {
    group,
    term,
    position: { index, term: snapshotTerm },
    membership: {
      voters: [...voters],
      votersOutgoing: [...votersOutgoing],
      learners: [...learners],
      learnersNext: [...learnersNext],
      autoLeave,
      addresses: addresses.map(({ node, address }) => ({ node, address })),
      retired: [...retired],
    },
  };
}

export function snapshotFromWire(
  header: SnapshotHeader,
  between: { readonly from: number; readonly to: number },
): { readonly group: number; readonly message: InstallSnapshot } {
  const { index, term } = positionFromWire(header.position);
  if (!header.membership) throw new RangeError('a snapshot without its membership');
  const { addresses, retired, ...rest } = header.membership;
  const membership: Membership = {
    ...rest,
    ...(addresses.length > 0 ? { addresses } : {}),
    ...(retired.length > 0 ? { retired } : {}),
  };
  const snapshot = { index, term, membership };
  return { group: header.group, message: { ...between, term: header.term, type: 'install-snapshot', snapshot } };
}
