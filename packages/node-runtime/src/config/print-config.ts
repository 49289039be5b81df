import { formatAddress } from './address.js';
import { type LoadedConfig, originOf } from './load-config.js';
import { allSettings, type Setting } from './setting-tree.js';

const MASK = '********';

/** The settings in force as TOML that can be loaded again, each with where it came from; secrets are masked. */
export function printConfig(loaded: LoadedConfig): string {
  const lines: string[] = [];
  let table = '';
  for (const setting of allSettings()) {
    const above = setting.path.slice(0, -1).join('.');
    if (above !== table) lines.push('', `[${above}]`);
    table = above;
    lines.push(printSetting(setting, loaded));
  }
  return `${lines.join('\n')}\n`;
}

function printSetting(setting: Setting, loaded: LoadedConfig): string {
  const name = setting.path[setting.path.length - 1] ?? '';
  const value = valueInForce(setting, loaded);
  if (value === undefined) return `# ${name} is not set`;
  const origin = originOf(loaded.origins, setting.path) ?? originBelow(setting, loaded) ?? 'default';
  return `${name} = ${printToml(setting.secret ? masked(value) : value)}  # ${origin}`;
}

function masked(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return MASK;
  return Object.fromEntries(Object.keys(value).map((key) => [key, MASK]));
}

function valueInForce({ path, default: byDefault }: Setting, { config, given }: LoadedConfig): unknown {
  switch (path.join('.')) {
    case 'roles':
      return config.roles;
    case 'advertise_host':
      return config.advertise_host;
    case 'data_path':
      return config.data_path;
    case 'meta.peers':
      return Object.fromEntries([...config.meta.peers].map(([id, address]) => [id, formatAddress(address)]));
    default:
      return given.get(path.join('.')) ?? byDefault;
  }
}

/** A map may be given key by key. */
function originBelow({ path, kind }: Setting, { origins }: LoadedConfig): string | undefined {
  if (kind !== 'map') return undefined;
  const below = [...origins].filter(([key]) => key.startsWith(`${path.join('.')}.`)).map(([, origin]) => origin);
  return below.length > 0 ? [...new Set(below)].join(', ') : undefined;
}

export function printToml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(printToml).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const pairs = Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)} = ${printToml(inner)}`);
    return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
  }
  // A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
  return JSON.stringify(value).replaceAll('\x7f', '\\u007f');
}
