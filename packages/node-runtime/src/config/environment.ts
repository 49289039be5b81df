// The only reader of the process environment in the repository. Everything else takes what it needs as an
// argument, so that a test, an embedding and a second server on one machine see no hidden settings.

export interface Environment {
  /** The variables that begin with ROBUSTMQ_ and are settings: all but those named in NOT_SETTINGS. */
  readonly settings: Readonly<Record<string, string>>;
  /** NO_COLOR is set and not empty (https://no-color.org), or TERM is dumb. */
  readonly noColor: boolean;
  /** ROBUSTMQ_DEBUG is set, not empty and not 0: errors are printed with their stack. */
  readonly debug: boolean;
}

export const ENVIRONMENT_PREFIX = 'ROBUSTMQ_';

/** Read by the launcher or by runMain, hence no settings: they may be there without being an unknown key. */
const NOT_SETTINGS = new Set(['ROBUSTMQ_NODE', 'ROBUSTMQ_NODE_OPTIONS', 'ROBUSTMQ_DEBUG']);

export function readEnvironment(variables: NodeJS.ProcessEnv = process.env): Environment {
  const settings: Record<string, string> = {};
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined || !name.startsWith(ENVIRONMENT_PREFIX) || NOT_SETTINGS.has(name)) continue;
    settings[name] = value;
  }
  const debug = variables['ROBUSTMQ_DEBUG'] ?? '';
  return {
    settings,
    noColor: (variables['NO_COLOR'] ?? '') !== '' || variables['TERM'] === 'dumb',
    debug: debug !== '' && debug !== '0',
  };
}

/** `ROBUSTMQ_MQTT__LISTENERS__TCP__BIND` names the setting `mqtt.listeners.tcp.bind`. */
export function settingOfVariable(name: string): readonly string[] {
  return name
    .slice(ENVIRONMENT_PREFIX.length)
    .split('__')
    .map((part) => part.toLowerCase());
}

export function variableOfSetting(path: readonly string[]): string {
  return ENVIRONMENT_PREFIX + path.map((part) => part.toUpperCase()).join('__');
}
