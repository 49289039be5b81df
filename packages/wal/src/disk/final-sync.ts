import type { Disk, DiskFile } from './disk.js';

/** A sync failed. Whatever the reason, a full disk included, it is not tried again (D3). */
export class SyncFailure extends Error {
  override readonly name = 'SyncFailure';
}

export async function datasyncOnce(file: DiskFile): Promise<void> {
  try {
    await file.datasync();
  } catch (cause) {
    throw new SyncFailure(`the sync of ${file.path} failed`, { cause });
  }
}

export async function syncDirectoryOnce(disk: Disk, directory: string): Promise<void> {
  try {
    await disk.syncDirectory(directory);
  } catch (cause) {
    throw new SyncFailure(`the sync of the directory ${directory} failed`, { cause });
  }
}
