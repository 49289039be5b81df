// Who may publish and subscribe where, by rules.
//
//   R1. The first rule that concerns a request decides; where none does, the default.
//   R2. A subscription is allowed only by a rule whose filter covers all of it, and denied by one that overlaps any
//       of it: `deny secret/#` also stops a subscription to `#`.
//   R3. A rule that cannot be read denies everything in its place, so that a slip of the pen opens nothing.
//   R4. A change of rules is in force for the next question. What a client was answered before is kept with the
//       generation of the rules, and dropped with it.

import { covers, overlaps } from '../route/topic-filter.js';
import { type AclRule, filterFor } from './acl-rule.js';
import type { Authorizer, ClientIdentity, Verdict } from './authorizer.js';

export type AclDefault = 'allow' | 'deny' | 'deny-with-rules';

export const DENY_ALL: AclRule = {
  permission: 'deny',
  action: 'all',
  username: undefined,
  clientId: undefined,
  topicFilter: '#',
};

/** Answers kept of one client. A publisher has few topics; one that has more is asked again. */
const ANSWERS_MAX = 64;

interface ClientRules {
  readonly generation: number;
  readonly username: string | undefined;
  readonly publish: readonly (readonly [Verdict, string])[];
  readonly subscribe: readonly (readonly [Verdict, string])[];
  /** Verdicts for topic names. */
  readonly answers: Map<string, Verdict>;
}

export class Acl implements Authorizer {
  readonly #default: AclDefault;
  readonly #first: readonly AclRule[];
  #rules: readonly AclRule[];
  #generation = 0;
  readonly #byClient = new WeakMap<ClientIdentity, ClientRules>();

  /** `first` are the rules of the configuration: they come before those that set() brings. */
  constructor(first: readonly AclRule[], byDefault: AclDefault) {
    this.#first = first;
    this.#rules = first;
    this.#default = byDefault;
  }

  /** Replaces the rules behind those of the configuration (R4). */
  set(rules: readonly AclRule[]): void {
    this.#rules = [...this.#first, ...rules];
    this.#generation++;
  }

  mayPublish(client: ClientIdentity, topicName: string): Verdict {
    const { publish, answers } = this.#rulesOf(client);
    const known = answers.get(topicName);
    if (known !== undefined) return known;
    const decided = publish.find(([, filter]) => covers(filter, topicName));
    const verdict = decided?.[0] ?? this.#byDefault;
    if (answers.size >= ANSWERS_MAX) answers.clear();
    answers.set(topicName, verdict);
    return verdict;
  }

  maySubscribe(client: ClientIdentity, topicFilter: string): Verdict {
    const { subscribe } = this.#rulesOf(client);
    const decided = subscribe.find(
      ([verdict, filter]) => (verdict === 'allow' ? covers(filter, topicFilter) : overlaps(filter, topicFilter)), // R2
    );
    return decided?.[0] ?? this.#byDefault; // R1
  }

  get #byDefault(): Verdict {
    if (this.#default !== 'deny-with-rules') return this.#default;
    return this.#rules.length > 0 ? 'deny' : 'allow';
  }

  #rulesOf(client: ClientIdentity): ClientRules {
    const { username, clientId } = client;
    const known = this.#byClient.get(client);
    if (known?.generation === this.#generation && known.username === username) return known; // R4
    const forClient = (action: 'publish' | 'subscribe') =>
      this.#rules.flatMap((rule): (readonly [Verdict, string])[] => {
        const concerns =
          (rule.action === 'all' || rule.action === action) &&
          (rule.username === undefined || rule.username === username) &&
          (rule.clientId === undefined || rule.clientId === clientId);
        const filter = concerns ? filterFor(rule, { clientId, username }) : undefined;
        return filter === undefined ? [] : [[rule.permission, filter]];
      });
    const made: ClientRules = {
      generation: this.#generation,
      username,
      publish: forClient('publish'),
      subscribe: forClient('subscribe'),
      answers: new Map(),
    };
    this.#byClient.set(client, made);
    return made;
  }
}
