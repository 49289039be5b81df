// The data directory of a node: who owns it, and that only one process does.
//
// identity.json is one JSON object in UTF-8 with a newline at its end:
//   format        whole number; the version of the layout of the whole directory
//   id            UUID; drawn when the directory was made, so that a copy or a fresh one can be told apart
//   cluster_name, node_id   as configured when the directory was made; they never change
//   created       ISO 8601, for people
// It is written to identity.json.tmp, synced, renamed, and the directory synced: after a crash it is whole or
// absent. Absent means that nothing was acknowledged yet, because nothing else is written before it.
//
// Invariants:
//   I1. Nothing is written into a directory that holds files of somebody else.
//   I2. The identity is read and written only under the lock.

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { CodedError, errorMessage } from '@robustmq/stdx/coded-error';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import type { Disk, DiskLock } from '@robustmq/wal';
import { z } from 'zod';
import { RuntimeError } from './errors.js';

/** The layout this program writes and reads. */
export const DATA_FORMAT = 1;

const IDENTITY_FILE = 'identity.json';
const IDENTITY_BYTES_MAX = 64 * 1024;

/** What a directory may hold before it is ours: the lock, a torn first write, what file systems and mounts leave. */
const HARMLESS = /^(LOCK(-.*)?|identity\.json\.tmp|lost\+found|\..*)$/;

const identitySchema = z.object({
  format: z.int().min(1),
  id: z.uuid(),
  cluster_name: z.string(),
  node_id: z.int().min(1),
  created: z.string(),
});

type Identity = z.output<typeof identitySchema>;

export interface DataDirectoryOptions {
  /** Absolute; made when it is missing. */
  readonly path: string;
  readonly clusterName: string;
  readonly nodeId: number;
}

export interface DataDirectoryDeps {
  readonly disk: Disk;
  readonly clock?: Clock;
  readonly log?: Logger;
}

export interface DataDirectory extends AsyncDisposable {
  readonly path: string;
  /** The UUID of this directory: who holds it is the only process with this id. */
  readonly id: string;
  readonly state: 'new' | 'existing';
  /** A path in the directory. */
  within(...names: string[]): string;
  /** Gives the directory back. */
  close(): Promise<void>;
}

/** Throws DATA_PATH_UNUSABLE, DATA_PATH_IN_USE, DATA_PATH_MISMATCH or DATA_PATH_CORRUPT. */
export async function openDataDirectory(
  options: DataDirectoryOptions,
  deps: DataDirectoryDeps,
): Promise<DataDirectory> {
  const { disk, log = nullLogger } = deps;
  const { path } = options;
  const lock = await usable(path, async () => {
    await disk.makeDirectory(path);
    await refuseForeign(disk, path); // I1
    return takeLock(disk, path);
  });
  try {
    const { identity, state } = await usable(path, () => loadOrCreate(options, deps)); // I2
    log.debug({ path, id: identity.id }, `data directory opened (${state})`);
    const close = () => lock.release();
    return {
      path,
      id: identity.id,
      state,
      within: (...names) => join(path, ...names),
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Failures of the file system, said for the whole directory. */
async function usable<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RuntimeError) throw error;
    const why = errorMessage(error).replace(/, \w+ '.*$/, '');
    throw new RuntimeError(
      'DATA_PATH_UNUSABLE',
      `cannot use the data directory ${path}: ${why}. Give this user the right to write there, or set data_path (--data-path) to another directory`,
      { cause: error },
    );
  }
}

async function refuseForeign(disk: Disk, path: string): Promise<void> {
  const names = await disk.list(path);
  const foreign = names.filter((name) => !HARMLESS.test(name));
  if (foreign.length === 0 || names.includes(IDENTITY_FILE)) return;
  throw new RuntimeError(
    'DATA_PATH_UNUSABLE',
    `${path} is not a data directory of ours and not empty (it holds ${foreign.slice(0, 3).join(', ')}). Set data_path (--data-path) to an empty or a new directory`,
  );
}

async function takeLock(disk: Disk, path: string): Promise<DiskLock> {
  try {
    return await disk.lock(path);
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== 'DIRECTORY_IN_USE') throw error;
    throw new RuntimeError('DATA_PATH_IN_USE', `the data directory is taken: ${error.message}`, { cause: error });
  }
}

interface LoadedIdentity {
  readonly identity: Identity;
  readonly state: DataDirectory['state'];
}

async function loadOrCreate(options: DataDirectoryOptions, deps: DataDirectoryDeps): Promise<LoadedIdentity> {
  const text = await readText(deps.disk, join(options.path, IDENTITY_FILE));
  if (text === undefined) return { identity: await createIdentity(options, deps), state: 'new' };
  const identity = parseIdentity(text, options.path);
  refuseMismatch(identity, options);
  return { identity, state: 'existing' };
}

function parseIdentity(text: string, path: string): Identity {
  const file = join(path, IDENTITY_FILE);
  const todo = 'Restore this file from a backup, or move the directory away and start with an empty one';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new RuntimeError('DATA_PATH_CORRUPT', `${file} is damaged: not JSON. ${todo}`, { cause: error });
  }
  // The format is looked at first: another version may have other fields.
  const format = (value as { format?: unknown } | null)?.format; // any JSON may be here
  if (typeof format === 'number' && format !== DATA_FORMAT) throw otherFormat(path, format);
  const parsed = identitySchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues.map((issue) => issue.path.join('.') || 'the object').join(', ');
  throw new RuntimeError('DATA_PATH_CORRUPT', `${file} is damaged (${where}). ${todo}`);
}

function otherFormat(path: string, format: number): RuntimeError {
  const todo =
    format > DATA_FORMAT
      ? 'Start the newer version of the program that wrote it'
      : 'Start the version that wrote it, or begin with an empty directory';
  return new RuntimeError(
    'DATA_PATH_MISMATCH',
    `${path} has format version ${format}, and this program reads ${DATA_FORMAT}. ${todo}`,
  );
}

function refuseMismatch(identity: Identity, { path, clusterName, nodeId }: DataDirectoryOptions): void {
  const differences: string[] = [];
  if (identity.cluster_name !== clusterName) {
    differences.push(`cluster_name "${identity.cluster_name}", not "${clusterName}"`);
  }
  if (identity.node_id !== nodeId) differences.push(`node_id ${identity.node_id}, not ${nodeId}`);
  if (differences.length === 0) return;
  throw new RuntimeError(
    'DATA_PATH_MISMATCH',
    `${path} belongs to ${differences.join(' and ')}. Set data_path (--data-path) to the directory of this node, or correct the setting`,
  );
}

async function createIdentity(options: DataDirectoryOptions, deps: DataDirectoryDeps): Promise<Identity> {
  const { disk, clock = systemClock } = deps;
  const identity: Identity = {
    format: DATA_FORMAT,
    id: randomUUID(),
    cluster_name: options.clusterName,
    node_id: options.nodeId,
    created: new Date(clock.wallTime()).toISOString(),
  };
  const final = join(options.path, IDENTITY_FILE);
  const draft = `${final}.tmp`;
  const file = await disk.open(draft, 'read-write');
  try {
    await file.truncate(0);
    await file.write([Buffer.from(`${JSON.stringify(identity, null, 2)}\n`)], 0);
    await file.datasync();
  } finally {
    await file.close();
  }
  await disk.rename(draft, final);
  await disk.syncDirectory(options.path);
  return identity;
}

async function readText(disk: Disk, path: string): Promise<string | undefined> {
  if (!(await disk.exists(path))) return undefined;
  const file = await disk.open(path, 'read');
  try {
    const bytes = Buffer.alloc(Math.min(await file.size(), IDENTITY_BYTES_MAX));
    return bytes.toString('utf8', 0, await file.read(bytes, 0));
  } finally {
    await file.close();
  }
}
