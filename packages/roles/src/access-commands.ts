// Users and access rules of a running cluster, from the command line: written to its metadata, in force at once.

import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { connectMeta } from '@robustmq/meta-raft/client';
import { AccessStore } from '@robustmq/mqtt-broker';
import { type Config, EXIT_CODES, type ExitCode, formatAddress, RuntimeError } from '@robustmq/node-runtime';
import { systemClock } from '@robustmq/stdx/clock';
import { nullLogger } from '@robustmq/stdx/logger';
import { createPrng } from '@robustmq/stdx/prng';
import { reachable } from './control.js';
import { randomSeed } from './random-seed.js';

type Print = (text: string) => unknown;

/** Who is meant, on the command line. */
export interface AccessFlags {
  readonly name?: string | undefined;
  readonly rules?: readonly string[] | undefined;
}

/** One of the commands; what it prints is for people. */
export type AccessWork = (config: Config, flags: AccessFlags, print: Print) => Promise<ExitCode>;

export async function addUser(config: Config, { name = '' }: AccessFlags, print: Print): Promise<ExitCode> {
  const password = await readPassword();
  await withStore(config, (store) => store.setUser(name, password));
  print(`${name} may log in, on every node`);
  return EXIT_CODES.ok;
}

export async function removeUser(config: Config, { name = '' }: AccessFlags, print: Print): Promise<ExitCode> {
  const outcome = await withStore(config, (store) => store.removeUser(name));
  print(outcome === 'removed' ? `${name} is removed; who is connected stays so` : `nobody is called ${name}`);
  return EXIT_CODES.ok;
}

export async function listUsers(config: Config, _flags: AccessFlags, print: Print): Promise<ExitCode> {
  for (const name of await withStore(config, (store) => store.userNames())) print(name);
  return EXIT_CODES.ok;
}

export async function setRules(
  config: Config,
  { name = '', rules = [] }: AccessFlags,
  print: Print,
): Promise<ExitCode> {
  await withStore(config, (store) => store.setRules(name, rules));
  print(`${name}: ${rules.length} ${rules.length === 1 ? 'rule is' : 'rules are'} in force, on every node`);
  return EXIT_CODES.ok;
}

export async function removeRules(config: Config, { name = '' }: AccessFlags, print: Print): Promise<ExitCode> {
  const outcome = await withStore(config, (store) => store.removeRules(name));
  print(outcome === 'removed' ? `${name} is removed` : `no rules are called ${name}`);
  return EXIT_CODES.ok;
}

export async function listRules(config: Config, _flags: AccessFlags, print: Print): Promise<ExitCode> {
  for (const { name, rules } of await withStore(config, (store) => store.rules())) {
    for (const rule of rules) print(`${name}: ${rule}`);
  }
  return EXIT_CODES.ok;
}

/** Speaks with the metadata of the cluster that a configuration describes, as its nodes do. */
async function withStore<Result>(config: Config, work: (store: AccessStore) => Promise<Result>): Promise<Result> {
  const peers = [...config.meta.peers.values()];
  const endpoints = (peers.length > 0 ? peers : [reachable(config.grpc.bind)]).map(formatAddress);
  const { secret } = config.grpc;
  const client = connectMeta(
    { endpoints, ...(secret === undefined ? {} : { secret }) },
    { clock: systemClock, prng: createPrng(randomSeed()), logger: nullLogger },
  );
  try {
    return await work(new AccessStore(client));
  } finally {
    await client.close();
  }
}

/** One line of the standard input; a terminal does not show it. A flag would be seen by everybody on the machine. */
function readPassword(): Promise<string> {
  const { stdin: input, stderr } = process;
  const terminal = input.isTTY === true;
  if (terminal) stderr.write('password: ');
  const output = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input, output, terminal });
  return new Promise((resolve, reject) => {
    lines.once('line', (line) => {
      resolve(line); // before close, which rejects
      lines.close();
      if (terminal) stderr.write('\n');
    });
    lines.once('close', () => reject(new RuntimeError('USAGE', 'no password on the standard input: one line of it')));
  });
}
