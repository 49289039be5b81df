// The data directory: whose it is, and its lock.
//
//   journal.json   {"format":1,"cluster":...,"node":...,"incarnation":...}, written once
//   wal/           the write-ahead log of all shards (@robustmq/wal)
//   segments/      segment files and their sidecars
//
// The incarnation names the disk, not the node: an emptied or restored directory gets another one, and what
// meta recorded for the old one is then known to be gone.

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Disk, DiskLock } from '@robustmq/wal';
import { JournalError } from '../errors.js';

const FORMAT = 1;
const IDENTITY = 'journal.json';

export interface Identity {
  readonly clusterName: string;
  readonly nodeId: number;
}

export interface DataDirectory {
  readonly walDirectory: string;
  readonly segmentsDirectory: string;
  readonly incarnation: string;
  readonly lock: DiskLock;
}

/** Takes the directory, creates what is missing, refuses what is foreign. */
export async function openDataDirectory(disk: Disk, directory: string, identity: Identity): Promise<DataDirectory> {
  await disk.makeDirectory(directory);
  const lock = await disk.lock(directory);
  try {
    const segmentsDirectory = join(directory, 'segments');
    await disk.makeDirectory(segmentsDirectory);
    const incarnation =
      (await readIdentity(disk, directory, identity)) ?? (await writeIdentity(disk, directory, identity));
    return { walDirectory: join(directory, 'wal'), segmentsDirectory, incarnation, lock };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function readIdentity(disk: Disk, directory: string, identity: Identity): Promise<string | undefined> {
  const path = join(directory, IDENTITY);
  if (!(await disk.exists(path))) return undefined;
  const file = await disk.open(path, 'read');
  const bytes = Buffer.alloc(await file.size());
  try {
    await file.read(bytes, 0);
  } finally {
    await file.close();
  }
  const stored = parseIdentity(bytes, path);
  if (stored.format !== FORMAT)
    throw new JournalError(
      'FORMAT_UNSUPPORTED',
      `${path} has format ${stored.format}, this version reads ${FORMAT}: start the version that wrote it`,
    );
  if (stored.cluster !== identity.clusterName || stored.node !== identity.nodeId)
    throw new JournalError(
      'DIRECTORY_FOREIGN',
      `${directory} belongs to node ${stored.node} of cluster "${stored.cluster}", this is node ${identity.nodeId} of "${identity.clusterName}": use another directory or correct the name`,
    );
  return stored.incarnation;
}

interface StoredIdentity {
  readonly format: number;
  readonly cluster: string;
  readonly node: number;
  readonly incarnation: string;
}

function parseIdentity(bytes: Buffer, path: string): StoredIdentity {
  try {
    const stored = JSON.parse(bytes.toString()) as Partial<StoredIdentity>; // checked next
    if (typeof stored.format === 'number' && typeof stored.incarnation === 'string') return stored as StoredIdentity; // by format
  } catch (cause) {
    throw new JournalError('CORRUPT', `${path} cannot be read; restore it from a copy`, { cause });
  }
  throw new JournalError('CORRUPT', `${path} is not what this program wrote; restore it from a copy`);
}

/** Whole or not at all, whenever power goes: written aside, synced, renamed. */
async function writeIdentity(disk: Disk, directory: string, identity: Identity): Promise<string> {
  const incarnation = randomUUID();
  const stored = { format: FORMAT, cluster: identity.clusterName, node: identity.nodeId, incarnation };
  const temporary = join(directory, `${IDENTITY}.tmp`);
  const file = await disk.open(temporary, 'read-write');
  try {
    await file.truncate(0);
    await file.write([Buffer.from(`${JSON.stringify(stored)}\n`)], 0);
    await file.datasync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, join(directory, IDENTITY));
  await disk.syncDirectory(directory);
  return incarnation;
}
