// Configuration: defaults < TOML file < environment < flags < what the program itself fixes.
//
// Everything wrong is found in one pass and told in one error, each with the place it was written. Nothing is
// opened or created here.

import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { RuntimeError } from '../errors.js';
import { isWildcard } from './address.js';
import type { Assignment } from './assignment.js';
import { type Environment, readEnvironment } from './environment.js';
import { explainIssue } from './explain-issue.js';
import { nearestKey } from './nearest-key.js';
import { configSchema, type Settings } from './schema.js';
import { allSettings, isTable, settingAt } from './setting-tree.js';
import { environmentAssignments, fileAssignments, flagAssignments, programAssignments } from './sources.js';

/** The settings of a node, checked, with what depends on the machine filled in. Keys as in the file. */
export interface Config extends Settings {
  readonly advertise_host: string;
  /** Absolute. */
  readonly data_path: string;
}

export interface ConfigSources {
  /** The path of a TOML file; without it there is none. */
  readonly file?: string | undefined;
  /** The environment; that of the process when absent. */
  readonly environment?: Environment;
  /** Each `key.path=value`; of two for one key the later counts. */
  readonly set?: readonly string[] | undefined;
  /** The flag `--data-path`. */
  readonly dataPath?: string | undefined;
  /** What the program is, whatever its configuration says: `{ roles: ['meta'] }` for meta-only. */
  readonly program?: Readonly<Record<string, unknown>>;
  /** The name of this machine; asked of the system when absent. */
  readonly hostName?: string;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Where a setting was given, by its dotted key; a key that is missing has its default. */
  readonly origins: ReadonlyMap<string, string>;
  /** The settings as given, by their dotted key. */
  readonly given: ReadonlyMap<string, unknown>;
}

/** Throws CONFIG_UNREADABLE, CONFIG_INVALID or USAGE. */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const assignments = [
    ...(sources.file === undefined ? [] : fileAssignments(sources.file)),
    ...environmentAssignments((sources.environment ?? readEnvironment()).settings),
    ...flagAssignments(sources.set ?? [], sources.dataPath),
    ...programAssignments(sources.program ?? {}),
  ];
  refuse(unknownKeys(assignments));

  const { tree, given, origins } = merge(assignments);
  const checked = configSchema.safeParse(tree, { reportInput: true });
  if (!checked.success) {
    refuse(checked.error.issues.map((issue) => explainIssue(issue, (path) => originOf(origins, path))));
  }
  const settings = checked.data as Settings; // success: refuse() threw otherwise
  const config: Config = {
    ...settings,
    advertise_host: settings.advertise_host ?? ownHost(settings, sources.hostName ?? hostname()),
    data_path: resolve(settings.data_path),
  };
  return { config, given, origins };
}

/** Where the setting, or the nearest one above it, was given. */
export function originOf(origins: ReadonlyMap<string, string>, path: readonly string[]): string | undefined {
  for (let depth = path.length; depth > 0; depth--) {
    const origin = origins.get(path.slice(0, depth).join('.'));
    if (origin !== undefined) return origin;
  }
  return undefined;
}

function unknownKeys(assignments: readonly Assignment[]): readonly string[] {
  const keys = allSettings().map(({ path }) => path.join('.'));
  return assignments.flatMap(({ path, origin }) => {
    if (settingAt(path)) return [];
    const key = path.join('.');
    if (isTable(path)) return [`${origin}: ${key} is a table of settings and takes no value itself`];
    const nearest = nearestKey(key, keys);
    const hint = nearest ? `did you mean ${nearest}?` : 'docs/reference/configuration.md lists all settings';
    return [`${origin}: unknown setting ${key}; ${hint}`];
  });
}

function refuse(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const [only] = problems;
  const text =
    problems.length === 1
      ? `${only}`
      : `${problems.length} settings are wrong:\n${problems.map((p) => `  ${p}`).join('\n')}`;
  throw new RuntimeError('CONFIG_INVALID', text);
}

interface MergedSettings {
  readonly tree: Record<string, unknown>;
  readonly given: ReadonlyMap<string, unknown>;
  readonly origins: ReadonlyMap<string, string>;
}

/** Later assignments win. One to a whole map replaces it; one to a key of it changes that key only. */
function merge(assignments: readonly Assignment[]): MergedSettings {
  const tree: Record<string, unknown> = {};
  const given = new Map<string, unknown>();
  const origins = new Map<string, string>();
  for (const { path, value, origin } of assignments) {
    let table = tree;
    for (const part of path.slice(0, -1)) {
      const below = table[part];
      const next = isPlainTable(below) ? below : {};
      table[part] = next;
      table = next;
    }
    table[path[path.length - 1] ?? ''] = value;
    origins.set(path.join('.'), origin);
  }
  for (const { path } of allSettings()) {
    const value = path.reduce<unknown>((at, part) => (isPlainTable(at) ? at[part] : undefined), tree);
    if (value !== undefined) given.set(path.join('.'), value);
  }
  return { tree, given, origins };
}

function isPlainTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** The name others reach this node by, where none is configured. */
function ownHost(settings: Settings, hostName: string): string {
  const { host } = settings.grpc.bind;
  if (!isWildcard(host)) return host;
  return settings.meta.peers.get(settings.node_id)?.host ?? hostName;
}
