// The places a setting can be written in, each turned into assignments.

import { readFileSync } from 'node:fs';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { parse as parseToml, TomlError } from 'smol-toml';
import { RuntimeError } from '../errors.js';
import { type Assignment, readText } from './assignment.js';
import { settingOfVariable } from './environment.js';
import { settingAt } from './setting-tree.js';
import { findTomlLines, lineOf } from './toml-lines.js';

/** Throws CONFIG_UNREADABLE when the file cannot be read or is not TOML. */
export function fileAssignments(file: string): readonly Assignment[] {
  const text = readConfigFile(file);
  let tables: Record<string, unknown>;
  try {
    tables = parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason] = error.message.replace(/^Invalid TOML document: /, '').split('\n');
    throw new RuntimeError('CONFIG_UNREADABLE', `${file}:${error.line}:${error.column}: not TOML: ${reason}`);
  }
  const lines = findTomlLines(text);
  return [...leaves(tables, [])].map(({ path, value }) => {
    const line = lineOf(lines, path);
    return { path, value, origin: line === undefined ? file : `${file}:${line}` };
  });
}

function readConfigFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new RuntimeError(
      'CONFIG_UNREADABLE',
      `cannot read the configuration file ${file}: ${errorMessage(error)}. Check the path given with --config and the file's permissions`,
      { cause: error },
    );
  }
}

/** Tables are walked down to settings; what is no setting is a leaf too, and found unknown later. */
function* leaves(table: Record<string, unknown>, above: readonly string[]): Iterable<Omit<Assignment, 'origin'>> {
  for (const [key, value] of Object.entries(table)) {
    const path = [...above, key];
    const isTable = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
    if (isTable && !settingAt(path) && Object.keys(value).length > 0) {
      yield* leaves(value as Record<string, unknown>, path); // a TOML table, checked above
    } else if (!isTable || settingAt(path)) {
      yield { path, value };
    }
  }
}

export function environmentAssignments(variables: Readonly<Record<string, string>>): readonly Assignment[] {
  return Object.entries(variables).map(([name, text]) =>
    textAssignment(settingOfVariable(name), text, `environment ${name}`),
  );
}

/** Throws USAGE when a `--set` is not `key.path=value`. */
export function flagAssignments(set: readonly string[], dataPath: string | undefined): readonly Assignment[] {
  const assignments = set.map((flag) => {
    const equals = flag.indexOf('=');
    if (equals < 1) {
      throw new RuntimeError('USAGE', `--set ${flag}: must be key.path=value, such as --set grpc.bind=127.0.0.1:1228`);
    }
    const key = flag.slice(0, equals).trim();
    return textAssignment(key.split('.'), flag.slice(equals + 1).trim(), `flag --set ${key}`);
  });
  if (dataPath !== undefined) assignments.push(textAssignment(['data_path'], dataPath, 'flag --data-path'));
  return assignments;
}

export function programAssignments(fixed: Readonly<Record<string, unknown>>): readonly Assignment[] {
  return Object.entries(fixed).map(([key, value]) => ({ path: key.split('.'), value, origin: 'this program' }));
}

function textAssignment(path: readonly string[], text: string, origin: string): Assignment {
  const setting = settingAt(path);
  return { path, value: setting ? readText(text, setting, path) : text, origin };
}
