import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createPrng } from '@robustmq/stdx/prng';
import { SimDisk } from '@robustmq/wal/testing';
import { MetaError } from '../src/errors.js';
import { type MetaOptions, type MetaService, startMeta } from '../src/index.js';

let directory = '';
let running: MetaService[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'meta-raft-'));
  running = [];
});

afterEach(async () => {
  for (const service of running) await service.close();
  await rm(directory, { recursive: true, force: true });
});

async function start(options: Partial<MetaOptions> = {}): Promise<MetaService> {
  const service = await startMeta({
    nodeId: 1,
    clusterName: 'test',
    dataDirectory: join(directory, 'node'),
    ...options,
  });
  running.push(service);
  return service;
}

describe('a node that is alone', () => {
  it('serves at once, and again after a restart', async () => {
    const first = await start();
    expect(first.isReady()).toBe(true);
    expect(first.status()).toMatchObject({ role: 'leader', membership: { voters: [1] } });
    const { revision } = await first.client.put('a', Buffer.from('1'));
    await first.close();
    expect(first.isReady()).toBe(false);
    await expect(first.client.put('b', Buffer.from('2'))).rejects.toMatchObject({ code: 'CLOSED' });
    const second = await start();
    expect(await second.client.get('a')).toMatchObject({ modRevision: revision, value: Buffer.from('1') });
    expect((await second.client.put('a', Buffer.from('3'))).revision).toBeGreaterThan(revision);
  });
});

describe('a node whose disk is full', () => {
  it('refuses writes with NO_SPACE, serves reads, and goes on with nothing lost when there is space', async () => {
    const disk = new SimDisk(createPrng('full'));
    const dataDirectory = join(directory, 'node');
    await mkdir(dataDirectory);
    const options = { nodeId: 1, clusterName: 'test', dataDirectory, requestTimeoutMs: 2_000 };
    const node = await startMeta(options, { disk });
    running.push(node);
    await node.client.put('kept', Buffer.from('1'));
    disk.capacityBytes = disk.usedBytes;
    const value = Buffer.alloc(1_000_000, 'x');
    // The log is laid out ahead: one of these finds the end, and waits.
    const waiting = Array.from({ length: 100 }, (_, i) => node.client.put(`w${i}`, value));
    const outcomes = Promise.allSettled(waiting);
    const refused = await refusal(node);
    expect(refused).toMatchObject({ code: 'NO_SPACE' });
    expect(node.status().role).toBe('leader');
    expect(await node.client.get('kept')).toMatchObject({ value: Buffer.from('1') });
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    const settled = await outcomes;
    await node.client.put('after', Buffer.from('2'));
    const acknowledged = settled.filter(({ status }) => status === 'fulfilled').length;
    expect((await node.client.range({ prefix: 'w' })).count).toBeGreaterThanOrEqual(acknowledged);
    expect(await node.client.get('kept')).toMatchObject({ value: Buffer.from('1') });
  }, 60_000);
});

/** What a put comes to, once one fails: the client repeats it for as long as a call may take. */
async function refusal(node: MetaService): Promise<unknown> {
  for (;;) {
    const error = await node.client.put('late', Buffer.from('x')).then(
      () => undefined,
      (failure: unknown) => failure,
    );
    // The one that found the disk full waits, and may yet be applied.
    if (error && !(error instanceof MetaError && error.code === 'DEADLINE')) return error;
  }
}

describe('a node of three that is the only one running', () => {
  it('serves nobody, founds nothing by itself, and says what is missing', async () => {
    const peers = { 1: '127.0.0.1:1', 2: '127.0.0.1:2', 3: '127.0.0.1:3' };
    await expect(start({ peers, startTimeoutMs: 200 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('2 at 127.0.0.1:2'),
    });
    // Everything was let go: the directory is free, and holds no cluster of one.
    await expect(start({ peers, startTimeoutMs: 200 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('waits no longer than its signal', async () => {
    const peers = { 1: '127.0.0.1:1', 2: '127.0.0.1:2' };
    const options = { nodeId: 1, clusterName: 'test', dataDirectory: join(directory, 'node'), peers };
    await expect(startMeta(options, { signal: AbortSignal.timeout(100) })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
  });
});

describe('a directory', () => {
  it('in use is refused', async () => {
    await start();
    await expect(start()).rejects.toMatchObject({
      code: 'DIRECTORY_MISMATCH',
      message: expect.stringContaining('in use'),
    });
  });

  it('of another node, cluster or format is refused and left as it is', async () => {
    await (await start()).close();
    const path = join(directory, 'node', 'meta.json');
    const before = await readFile(path, 'utf8');
    await expect(start({ nodeId: 2 })).rejects.toMatchObject({
      code: 'DIRECTORY_MISMATCH',
      message: expect.stringContaining('node 1, not 2'),
    });
    await expect(start({ clusterName: 'other' })).rejects.toMatchObject({
      code: 'DIRECTORY_MISMATCH',
      message: expect.stringContaining('"test"'),
    });
    expect(await readFile(path, 'utf8')).toBe(before);
    await writeFile(path, before.replace('"format":1', '"format":2'));
    await expect(start()).rejects.toMatchObject({
      code: 'DIRECTORY_MISMATCH',
      message: expect.stringContaining('format 2'),
    });
    await writeFile(path, 'nonsense');
    await expect(start()).rejects.toMatchObject({ code: 'DAMAGED' });
    await writeFile(path, before);
    expect((await start()).isReady()).toBe(true);
  });
});

describe('options', () => {
  it.each([
    [{ nodeId: 0 }, 'node id'],
    [{ clusterName: '' }, 'clusterName'],
    [{ peers: { 2: '127.0.0.1:1' } }, 'this one included'],
    [{ timing: { electionTicks: 3, heartbeatTicks: 2 } }, 'electionTicks'],
    [{ startTimeoutMs: 0 }, 'startTimeoutMs'],
  ] as [Partial<MetaOptions>, string][])('%j are refused', async (options, what) => {
    await expect(start(options)).rejects.toMatchObject({ code: 'INVALID', message: expect.stringContaining(what) });
  });
});
