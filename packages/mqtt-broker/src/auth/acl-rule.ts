// One access rule as people write it:
//
//   <allow|deny> <publish|subscribe|all> [user=NAME] [client=ID] <topic filter>
//
//   allow all devices/${clientid}/#
//   deny  subscribe user=guest plant/secret/#
//
// Names hold no blanks; the filter is the rest of the line. ${clientid} and ${username} stand for what the client is.

import { MqttError } from '../errors.js';
import { parseTopicFilter } from '../route/topic-filter.js';

export interface AclRule {
  readonly permission: 'allow' | 'deny';
  readonly action: 'publish' | 'subscribe' | 'all';
  /** Undefined: everybody, also who has no name. */
  readonly username: string | undefined;
  readonly clientId: string | undefined;
  /** With placeholders. */
  readonly topicFilter: string;
}

const FORM =
  /^(?<permission>allow|deny) +(?<action>publish|subscribe|all) +(?:user=(?<user>\S+) +)?(?:client=(?<client>\S+) +)?(?<filter>\S.*)$/;
const PLACEHOLDER = /\$\{([^}]*)\}/g;
const TOPIC_LIMITS = { bytesMax: 65_535, levelsMax: 65_535 };

/** Errors: INVALID_OPTION, with the line and what is wrong with it. */
export function parseAclRule(line: string): AclRule {
  const groups = FORM.exec(line.trim())?.groups;
  const { permission, action, user, client, filter = '' } = groups ?? {};
  if (groups === undefined || /^(user|client)=/.test(filter)) {
    throw wrong(line, 'a rule is "allow|deny publish|subscribe|all [user=NAME] [client=ID] <topic filter>"');
  }
  for (const [whole, name] of filter.matchAll(PLACEHOLDER)) {
    if (name !== 'clientid' && name !== 'username')
      throw wrong(line, `${whole} is neither \${clientid} nor \${username}`);
  }
  const plain = parseTopicFilter(filter.replace(PLACEHOLDER, 'x'), TOPIC_LIMITS);
  if (plain.kind === 'invalid') throw wrong(line, plain.why);
  if (plain.kind !== 'plain') throw wrong(line, 'rules are written without $share/ and $exclusive/');
  return {
    permission: permission === 'allow' ? 'allow' : 'deny',
    action: action === 'publish' || action === 'subscribe' ? action : 'all',
    username: user,
    clientId: client,
    topicFilter: filter,
  };
}

function wrong(line: string, why: string): MqttError {
  return new MqttError('INVALID_OPTION', `the access rule ${JSON.stringify(line)} cannot be read: ${why}`);
}

/**
 * The filter of a rule for one client. What a client calls itself is text, and must not become more than one part
 * of one level: a value that is missing, or empty, or holds `/`, `+` or `#`, or begins with `$`, fits no allow
 * rule, and any level in a deny rule.
 */
export function filterFor(
  { topicFilter, permission }: AclRule,
  values: { readonly clientId: string; readonly username: string | undefined },
): string | undefined {
  let odd = false;
  const levels = topicFilter.split('/').map((level) => {
    let oddLevel = false;
    const text = level.replace(PLACEHOLDER, (_whole, name: string) => {
      const value = name === 'clientid' ? values.clientId : values.username;
      if (value === undefined || !/^[^$/+#][^/+#]*$/s.test(value)) oddLevel = true;
      return value ?? '';
    });
    odd ||= oddLevel;
    return oddLevel ? '+' : text;
  });
  return odd && permission === 'allow' ? undefined : levels.join('/');
}
