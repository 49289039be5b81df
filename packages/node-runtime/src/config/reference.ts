import { variableOfSetting } from './environment.js';
import { printToml } from './print-config.js';
import { allSettings, type Setting } from './setting-tree.js';

/** The text of docs/reference/configuration.md, written from the schema. */
export function configurationReference(): string {
  const sections: string[] = [INTRODUCTION];
  let table: string | undefined;
  for (const setting of allSettings()) {
    const above = setting.path.slice(0, -1).join('.');
    if (above !== table) sections.push(`## ${above === '' ? 'Top level' : `[${above}]`}`);
    table = above;
    sections.push(describe(setting));
  }
  return `${sections.join('\n\n')}\n`;
}

const INTRODUCTION = `# Configuration

<!-- Written from packages/node-runtime/src/config/schema.ts by scripts/write-reference.mjs there. Do not edit. -->

A setting can be given in four places. Of two, the later in this list counts:

1. its default;
2. a TOML file: \`--config robust.toml\`;
3. the environment: \`ROBUSTMQ_\` and the key in capitals, \`__\` between levels;
4. a flag: \`--set key.path=value\`, and \`--data-path DIR\` for \`data_path\`.

Lists in the environment and in flags are written with commas (\`--set roles=meta,broker\`), maps key by key
(\`--set meta.peers.1=127.0.0.1:1228\`) or as a TOML inline table, which keeps the case of keys in the environment. An unknown key is an error that names the nearest
known one. \`config check\` reads everything and says what is wrong; \`config print\` shows the settings in force and
where each was given, with secrets masked.

Three variables are no settings: \`ROBUSTMQ_NODE\` and \`ROBUSTMQ_NODE_OPTIONS\` tell the launcher which Node to run
and with which options, and \`ROBUSTMQ_DEBUG=1\` prints errors with their stack. \`NO_COLOR\` turns colours off.`;

function describe(setting: Setting): string {
  const key = setting.path.join('.');
  const facts = [
    `- Type: ${typeText(setting)}`,
    `- Default: ${defaultText(setting)}`,
    `- Environment: \`${variableOfSetting(setting.path)}\``,
  ];
  return `### \`${key}\`\n\n${setting.description}\n\n${facts.join('\n')}`;
}

function typeText({ kind, choices, minimum, maximum }: Setting): string {
  const choice = choices?.map((one) => `\`${one}\``).join(', ');
  if (kind === 'list') return choice ? `list of ${choice}` : 'list';
  if (choice) return `one of ${choice}`;
  if (kind !== 'number') return kind;
  if (minimum === undefined && maximum === undefined) return 'whole number';
  if (maximum === undefined) return `whole number from ${minimum}`;
  return `whole number from ${minimum} to ${maximum}`;
}

function defaultText(setting: Setting): string {
  if (setting.defaultText !== undefined) return setting.defaultText;
  return setting.default === undefined ? 'none' : `\`${printToml(setting.default)}\``;
}
