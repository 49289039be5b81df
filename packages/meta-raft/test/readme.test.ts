// The programs of README.md run as they are written there.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, it } from '@jest/globals';
import * as clock from '@robustmq/stdx/clock';
import * as client from '../src/client/index.js';
import * as door from '../src/index.js';
import * as testing from '../src/testing/index.js';

const DOORS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  '@robustmq/meta-raft': { ...door },
  '@robustmq/meta-raft/client': { ...client },
  '@robustmq/meta-raft/testing': { ...testing },
  '@robustmq/stdx/clock': { ...clock },
  '@grpc/grpc-js': { ...grpc },
};

const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor as new (
  ...args: string[]
) => (...values: unknown[]) => Promise<void>; // how JavaScript names it

/** Runs a program with its imports and globals given; returns what it printed. */
async function run(program: string, globals: Readonly<Record<string, unknown>>): Promise<unknown[][]> {
  const printed: unknown[][] = [];
  const names = new Map<string, unknown>(Object.entries(globals));
  names.set('console', { log: (...line: unknown[]) => printed.push(line) });
  const body = program.replace(/^import \{([^}]*)\} from '([^']*)';$/gm, (_, list: string, from: string) => {
    for (const name of list.split(',').map((one) => one.trim())) {
      const value = DOORS[from]?.[name];
      if (value === undefined) throw new Error(`${from} has no ${name}`);
      names.set(name, value);
    }
    return '';
  });
  await new AsyncFunction(...names.keys(), body)(...names.values());
  return printed;
}

async function programs(): Promise<string[]> {
  const readme = await readFile(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8');
  return [...readme.matchAll(/^```(?:ts|js)\n(.*?)^```/gms)].map((match) => match[1] ?? '');
}

describe('README.md', () => {
  it('embeds one node, twice on the same directory', async () => {
    const [embedding = ''] = await programs();
    const directory = await mkdtemp(join(tmpdir(), 'meta-readme-'));
    const program = embedding.replace('./data/meta', directory).replace('1_000', '100');
    for (const succeeded of [true, false]) {
      const printed = await run(program, { Buffer, setTimeout, AbortController });
      expect(printed.slice(0, 2)).toEqual([['hello'], [succeeded]]);
      expect(printed[2]?.[1]).toMatchObject([{ type: 'delete', key: 'nodes/1' }]);
    }
    await rm(directory, { recursive: true, force: true });
  });

  it('starts a node behind a gRPC server, and reaches it from outside', async () => {
    const [, node = '', outside = ''] = await programs();
    const directory = await mkdtemp(join(tmpdir(), 'meta-readme-'));
    const probe = new grpc.Server();
    const port = await new Promise<number>((resolve, reject) =>
      probe.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    probe.forceShutdown();
    const alone = node
      .replace(/const peers = .*;/, `const peers = { 1: '127.0.0.1:${port}' };`)
      .replace('./data/meta-', `${directory}/meta-`)
      .concat('globals.stop = async () => { await meta.close(); server.forceShutdown(); };');
    const globals: { stop?: () => Promise<void> } = {};
    expect(await run(alone, { Buffer, process: { argv: ['', '', '1'] }, globals })).toEqual([['ready', 'leader']]);
    await run(outside.replace(/endpoints: \[.*\]/, `endpoints: ['127.0.0.1:${port}']`), { Buffer });
    await globals.stop?.();
    await rm(directory, { recursive: true, force: true });
  });

  it('tests without Raft', async () => {
    const memory = (await programs())[3] ?? '';
    expect(await run(memory, { Buffer })).toEqual([[undefined]]);
  });
});
