import type { z } from 'zod';
import { settingAt } from './setting-tree.js';

type Issue = z.core.$ZodIssue;

/** A finding of the schema, in our words, with the place the setting was written at. */
export function explainIssue(issue: Issue, originAt: (path: readonly string[]) => string | undefined): string {
  const path = issue.path.map(String);
  const origin = originAt(path);
  const key = path.join('.');
  return `${origin === undefined ? '' : `${origin}: `}${key} ${whatIsWrong(issue, path)}`;
}

function whatIsWrong(issue: Issue, path: readonly string[]): string {
  const given = shown(issue.input, path);
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'int'
        ? `must be a whole number${given}`
        : `must be ${KINDS[issue.expected] ?? issue.expected}${given}`;
    case 'too_small':
      return issue.origin === 'string' || issue.origin === 'array'
        ? issue.message
        : `must be at least ${issue.minimum}${given}`;
    case 'too_big':
      return `must be at most ${issue.maximum}${given}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}${given}`;
    case 'invalid_format':
      return `${issue.message}${given}`;
    case 'invalid_key':
      return issue.issues[0]?.message ?? issue.message;
    default:
      return issue.message;
  }
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a table',
  record: 'a table',
};

/** The value as it was given, unless it is a secret or too large to help. */
function shown(input: unknown, path: readonly string[]): string {
  if (input === undefined || settingAt(path)?.secret) return '';
  const text = JSON.stringify(input);
  return text === undefined || text.length > 80 ? '' : `, not ${text}`;
}
