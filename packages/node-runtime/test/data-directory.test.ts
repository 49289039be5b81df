import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createPrng } from '@robustmq/stdx/prng';
import { nodeDisk } from '@robustmq/wal';
import { SimDisk } from '@robustmq/wal/testing';
import { build } from 'esbuild';
import { type DataDirectoryOptions, openDataDirectory } from '../src/data-directory.js';

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'robustmq-data-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const disk = nodeDisk();

function fresh(change: Partial<DataDirectoryOptions> = {}): DataDirectoryOptions {
  return { path: join(root, `${count++}`, 'data'), clusterName: 'c', nodeId: 1, ...change };
}

/** Another process that opens the directory and stays. */
async function startHolder(options: DataDirectoryOptions) {
  const bundle = join(root, 'holder.mjs');
  const contents = `
    import { nodeDisk } from '@robustmq/wal';
    import { openDataDirectory } from './data-directory.js';
    await openDataDirectory(JSON.parse(process.argv[2]), { disk: nodeDisk() });
    console.log('held');
    process.stdin.resume();
  `;
  await build({
    stdin: { contents, loader: 'ts', resolveDir: join(import.meta.dirname, '../src') },
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@robustmq/source'],
    mainFields: ['module', 'main'],
  });
  const holder = spawn(process.execPath, [bundle, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  return holder;
}

describe('openDataDirectory', () => {
  it('makes the directory, keeps its identity, and gives it back when closed', async () => {
    const options = fresh();
    const first = await openDataDirectory(options, { disk });
    expect(first.state).toBe('new');
    expect(first.within('meta', 'log')).toBe(join(options.path, 'meta', 'log'));
    expect(JSON.parse(await readFile(join(options.path, 'identity.json'), 'utf8'))).toMatchObject({
      format: 1,
      id: first.id,
      cluster_name: 'c',
      node_id: 1,
      created: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
    await first.close();

    const second = await openDataDirectory(options, { disk });
    expect(second).toMatchObject({ state: 'existing', id: first.id });
    await second.close();
    expect(await readdir(options.path)).toEqual(['identity.json']);
  });

  it('refuses a directory that is held, says by whom, and leaves it to its holder', async () => {
    const options = fresh();
    const held = await openDataDirectory(options, { disk });
    await expect(openDataDirectory(options, { disk })).rejects.toMatchObject({
      code: 'DATA_PATH_IN_USE',
      message: expect.stringContaining(`process ${process.pid}`),
    });
    await expect(openDataDirectory(options, { disk })).rejects.toMatchObject({ code: 'DATA_PATH_IN_USE' });
    await held.close();
    await (await openDataDirectory(options, { disk })).close();
  });

  it('takes over from a process that was killed', async () => {
    const options = fresh();
    const holder = await startHolder(options);
    try {
      await expect(openDataDirectory(options, { disk })).rejects.toMatchObject({
        code: 'DATA_PATH_IN_USE',
        message: expect.stringContaining(`process ${holder.pid}`),
      });
    } finally {
      holder.kill('SIGKILL');
      await once(holder, 'exit');
    }
    const taken = await openDataDirectory(options, { disk });
    expect(taken.state).toBe('existing');
    await taken.close();
  });

  it('opens what a process left that was killed before it wrote anything', async () => {
    const options = fresh();
    await (await openDataDirectory(options, { disk })).close();
    const holder = await startHolder(options);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await rm(join(options.path, 'identity.json'));
    expect(await readdir(options.path)).toHaveLength(1); // its lock
    const taken = await openDataDirectory(options, { disk });
    expect(taken.state).toBe('new');
    await taken.close();
  });

  it.each([
    ['another cluster', { clusterName: 'd' }, 'belongs to cluster_name "c", not "d"'],
    ['another node', { nodeId: 2 }, 'belongs to node_id 1, not 2'],
  ])('refuses the directory of %s and releases it again', async (_who, change, text) => {
    const options = fresh();
    await (await openDataDirectory(options, { disk })).close();
    await expect(openDataDirectory({ ...options, ...change }, { disk })).rejects.toMatchObject({
      code: 'DATA_PATH_MISMATCH',
      message: expect.stringContaining(text),
    });
    await (await openDataDirectory(options, { disk })).close();
  });

  it('refuses another format version, newer or older, whatever else the identity holds', async () => {
    const options = fresh();
    await mkdir(options.path, { recursive: true });
    await writeFile(join(options.path, 'identity.json'), '{"format":2,"shape":"new"}');
    await expect(openDataDirectory(options, { disk })).rejects.toMatchObject({
      code: 'DATA_PATH_MISMATCH',
      message: expect.stringMatching(/format version 2, and this program reads 1\. Start the newer version/),
    });
    await writeFile(join(options.path, 'identity.json'), '{"format":0}');
    await expect(openDataDirectory(options, { disk })).rejects.toThrow(/Start the version that wrote it/);
  });

  it.each(['', '{', 'null', '[]', '{"format":1,"id":"x"}', '\u0000\u0000\u0000'])(
    'refuses a damaged identity %j',
    async (text) => {
      const options = fresh();
      await mkdir(options.path, { recursive: true });
      await writeFile(join(options.path, 'identity.json'), text);
      await expect(openDataDirectory(options, { disk })).rejects.toMatchObject({ code: 'DATA_PATH_CORRUPT' });
      expect(await readFile(join(options.path, 'identity.json'), 'utf8')).toBe(text);
    },
  );

  it('writes nothing where files of others are, and does not mind what mounts leave', async () => {
    const options = fresh();
    await mkdir(join(options.path, 'lost+found'), { recursive: true });
    await writeFile(join(options.path, 'thesis.tex'), '');
    await expect(openDataDirectory(options, { disk })).rejects.toMatchObject({
      code: 'DATA_PATH_UNUSABLE',
      message: expect.stringContaining('it holds thesis.tex'),
    });
    expect(await readdir(options.path)).toEqual(['lost+found', 'thesis.tex']);
    await rm(join(options.path, 'thesis.tex'));
    await (await openDataDirectory(options, { disk })).close();
  });

  it('says what to do when the path is a file, or may not be written', async () => {
    const options = fresh();
    await mkdir(join(options.path, '..'), { recursive: true });
    await writeFile(options.path, 'a file');
    await expect(openDataDirectory(options, { disk })).rejects.toMatchObject({
      code: 'DATA_PATH_UNUSABLE',
      message: expect.stringMatching(/cannot use the data directory .*: .*\. Give this user the right/),
    });
    if (process.getuid?.() === 0) return; // root may write anywhere
    const closed = fresh();
    await mkdir(closed.path, { recursive: true });
    await chmod(closed.path, 0o500);
    await expect(openDataDirectory(closed, { disk })).rejects.toMatchObject({ code: 'DATA_PATH_UNUSABLE' });
  });
});

describe('a crash while the directory is made', () => {
  it('at any operation leaves one that the next start opens', async () => {
    const options = { path: '/data', clusterName: 'c', nodeId: 1 };
    const whole = new SimDisk(createPrng('whole'));
    await (await openDataDirectory(options, { disk: whole })).close();
    for (let seed = 0; seed < 20; seed++) {
      for (let operations = 0; operations < whole.operations; operations++) {
        const sim = new SimDisk(createPrng(seed));
        sim.haltAfter(operations);
        await openDataDirectory(options, { disk: sim }).catch(() => undefined);
        sim.crash();
        const next = await openDataDirectory(options, { disk: sim });
        await next.close();
        const again = await openDataDirectory(options, { disk: sim });
        expect(again).toMatchObject({ state: 'existing', id: next.id });
      }
    }
  });
});
