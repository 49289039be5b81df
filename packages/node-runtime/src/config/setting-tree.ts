// The schema seen as a tree of keys: which names exist where, what kind each leaf is. Taken from zod's JSON
// Schema, the one documented view of a schema, so that nothing here reaches into zod's insides.

import { assert } from '@robustmq/stdx/assert';
import { z } from 'zod';
import { configSchema } from './schema.js';

/** The JSON Schema of one node, as far as we use it. */
interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | false;
  // Facts of ours (schema.ts), which zod copies along.
  readonly secret?: boolean;
  readonly defaultText?: string;
}

export type SettingKind = 'text' | 'number' | 'boolean' | 'list' | 'map';

export interface Setting {
  readonly path: readonly string[];
  readonly kind: SettingKind;
  readonly description: string;
  readonly default: unknown;
  readonly defaultText: string | undefined;
  readonly choices: readonly string[] | undefined;
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
  readonly secret: boolean;
}

/** All settings, in the order of the schema. */
export function allSettings(): readonly Setting[] {
  known ??= [...settingsBelow(z.toJSONSchema(configSchema, { io: 'input' }) as JsonSchema, [])]; // only fields we set are read
  return known;
}

let known: readonly Setting[] | undefined;

/** The setting a path means: itself, or the map that one of its keys belongs to. */
export function settingAt(path: readonly string[]): Setting | undefined {
  return allSettings().find(({ path: own, kind }) => {
    const covers = own.every((part, depth) => path[depth] === part);
    return covers && (path.length === own.length || (kind === 'map' && path.length === own.length + 1));
  });
}

/** True for the name of a table: `mqtt.listeners`. */
export function isTable(path: readonly string[]): boolean {
  return allSettings().some(
    ({ path: own }) => own.length > path.length && path.every((part, depth) => own[depth] === part),
  );
}

function* settingsBelow(schema: JsonSchema, path: readonly string[]): Iterable<Setting> {
  if (schema.properties) {
    for (const [key, child] of Object.entries(schema.properties)) yield* settingsBelow(child, [...path, key]);
    return;
  }
  assert(schema.description, `the setting ${path.join('.')} is described`);
  yield {
    path,
    kind: kindOf(schema, path),
    description: schema.description,
    default: schema.default,
    defaultText: schema.defaultText,
    choices: schema.enum ?? schema.items?.enum,
    minimum: schema.minimum,
    // zod bounds every integer by what a number holds exactly; that says nothing to a reader.
    maximum: schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum,
    secret: schema.secret === true,
  };
}

function kindOf(schema: JsonSchema, path: readonly string[]): SettingKind {
  switch (schema.type) {
    case 'string':
      return 'text';
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'array':
      return 'list';
    case 'object':
      return 'map';
    default:
      assert(false, `the setting ${path.join('.')} has a kind that text can express, not ${schema.type}`);
  }
}
