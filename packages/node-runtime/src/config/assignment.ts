import { parse as parseToml, TomlError } from 'smol-toml';
import type { Setting } from './setting-tree.js';

/** One setting given by one source. */
export interface Assignment {
  readonly path: readonly string[];
  /** As TOML gives it; text from the environment or a flag is read by the kind of the setting. */
  readonly value: unknown;
  /** Where it was written, for messages and `config print`: `robust.toml:12`, `environment ROBUSTMQ_…`. */
  readonly origin: string;
}

/**
 * Text from the environment or a flag, read as the kind of value the setting takes. Text that does not fit is
 * left as it is: the schema refuses it, with the words for that setting.
 */
export function readText(text: string, setting: Setting, path: readonly string[]): unknown {
  switch (setting.kind) {
    case 'text':
      return text;
    case 'number':
      return /^-?\d+(_\d+)*$/.test(text) ? Number(text.replaceAll('_', '')) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'list':
      return text.startsWith('[') ? readTomlValue(text) : splitList(text);
    case 'map':
      return path.length > setting.path.length ? text : readTomlValue(text);
  }
}

function splitList(text: string): readonly string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function readTomlValue(text: string): unknown {
  try {
    return parseToml(`value = ${text}`)['value'];
  } catch (error) {
    if (error instanceof TomlError) return text;
    throw error;
  }
}
