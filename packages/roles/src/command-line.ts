// The command line that all apps share: start, stop, status, version, config check|print,
// users add|remove|list, acl set|remove|list.

import {
  type ExitCode,
  type LoadedConfig,
  loadConfig,
  printConfig,
  type RunContext,
  RuntimeError,
  runMain,
} from '@robustmq/node-runtime';
import yargs, { type Argv } from 'yargs';
import {
  type AccessFlags,
  type AccessWork,
  addUser,
  listRules,
  listUsers,
  removeRules,
  removeUser,
  setRules,
} from './access-commands.js';
import type { App } from './app.js';
import { showStatus, stopNode } from './control.js';
import { runNode } from './node.js';

/** What the flags say about the configuration. */
interface ConfigFlags {
  readonly config?: string | undefined;
  readonly dataPath?: string | undefined;
  readonly set?: readonly string[] | undefined;
}

/** Runs the command of this process, and ends it with the documented exit code. */
export async function runApp(app: App, argv: readonly string[]): Promise<void> {
  await runMain((context) => runCommand(app, context, argv), { program: app.name });
}

async function runCommand(app: App, context: RunContext, argv: readonly string[]): Promise<ExitCode | undefined> {
  const load = (flags: ConfigFlags) => loadFor(app, context, flags);
  let outcome: Promise<ExitCode | undefined> = Promise.resolve(undefined);
  /** A command's work is awaited after parsing, so that what it throws is not taken for a mistake in the flags. */
  const on = (work: (flags: ConfigFlags) => Promise<ExitCode | undefined>) => (flags: ConfigFlags) => {
    outcome = work(flags);
  };
  const start = on(async (flags) => runNode({ app, context, loaded: load(flags) }));
  const stop = on(async (flags) => stopNode(load(flags).config, print));
  const status = on(async (flags) => showStatus(load(flags).config, print));
  const check = on(async (flags) => {
    load(flags);
    return print('the configuration is valid');
  });
  const access = (work: AccessWork) => (flags: ConfigFlags & AccessFlags) => {
    outcome = work(load(flags).config, flags, print);
  };
  const show = on(async (flags) => print(printConfig(load(flags)).trimEnd()));
  await withAccessCommands(yargs(), access)
    .scriptName(app.name)
    .usage(`$0 <command>\n\n${app.summary}`)
    .command('start', 'start in the foreground', withConfig, start)
    .command('stop', 'stop the server of this configuration, orderly', withConfig, stop)
    .command('status', 'say how that server is; exit code 0 when it is ready', withConfig, status)
    .command('version', 'print the version', {}, () => print(`${app.name} ${app.version}`))
    .command('config', 'look at the configuration', (sub) =>
      sub
        .command('check', 'say whether it is valid', withConfig, check)
        .command('print', 'print every setting and where it came from', withConfig, show)
        .demandCommand(1, 'say what to do with the configuration: check or print'),
    )
    .demandCommand(1, 'say what to do: start, stop, status, version, config, users, or acl')
    .strict()
    .version(app.version)
    .parserConfiguration({ 'dot-notation': false })
    .epilogue(
      'Settings: defaults < file < environment (ROBUSTMQ_…) < --set. All of them: docs/reference/configuration.md',
    )
    .exitProcess(false)
    .fail((message, error) => {
      throw error ?? new RuntimeError('USAGE', `${message}. See ${app.name} --help`);
    })
    .parseAsync([...argv]);
  return await outcome;
}

function withAccessCommands(
  program: Argv,
  access: (work: AccessWork) => (flags: ConfigFlags & AccessFlags) => void,
): Argv {
  return program
    .command('users', 'who may log in, on every node of a running cluster', (sub) =>
      sub
        .command('add <name>', 'add a user, or change its password; the password is read', withName, access(addUser))
        .command('remove <name>', 'remove a user', withName, access(removeUser))
        .command('list', 'list users', withConfig, access(listUsers))
        .demandCommand(1, 'say what to do with users: add, remove or list'),
    )
    .command('acl', 'what clients may do, on every node of a running cluster', (sub) =>
      sub
        .command('set <name> <rules..>', 'replace the rules of that name', withRules, access(setRules))
        .command('remove <name>', 'remove the rules of that name', withName, access(removeRules))
        .command('list', 'list rules in their order', withConfig, access(listRules))
        .demandCommand(1, 'say what to do with rules: set, remove or list'),
    );
}

function withConfig(command: Argv): Argv<ConfigFlags> {
  return command
    .option('config', { type: 'string', alias: 'c', describe: 'a TOML file' })
    .option('data-path', { type: 'string', describe: 'the directory of everything this node keeps (data_path)' })
    .option('set', {
      type: 'string',
      array: true,
      nargs: 1,
      describe: 'key=value, as in mqtt.auth.anonymous=everywhere',
    });
}

function withName(command: Argv) {
  return withConfig(command).positional('name', { type: 'string', demandOption: true });
}

function withRules(command: Argv) {
  return withName(command).positional('rules', { type: 'string', array: true, demandOption: true });
}

function loadFor(app: App, context: RunContext, flags: ConfigFlags): LoadedConfig {
  return loadConfig({
    file: flags.config,
    environment: context.environment,
    set: flags.set,
    dataPath: flags.dataPath,
    ...(app.fixed ? { program: app.fixed } : {}),
  });
}

function print(text: string): undefined {
  process.stdout.write(`${text}\n`);
}
