// The seam to the file system. Everything of ours that must survive goes through a Disk, so that the
// simulated one can lose, tear and refuse exactly what a real one may.
//
// What an implementation promises:
//   D1. A write is not durable until a datasync() of the same file that began after it has resolved.
//   D2. A new name, a rename or a removal is not durable until syncDirectory() of its parent has resolved.
//   D3. After any failed sync nothing about earlier writes of that file may be assumed; there is no retry.
//   D4. write() either wrote everything or rejects; a short write of the system is never success.

export interface DiskFile {
  readonly path: string;
  /** Fills `into` from `position`; resolves with the bytes read, fewer only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Writes all parts, one after the other, from `position` on (D4). */
  write(parts: readonly Uint8Array[], position: number): Promise<void>;
  /** Makes earlier writes durable, and the size if it changed (fdatasync). A rejection is final (D3). */
  datasync(): Promise<void>;
  truncate(bytes: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** Held until released or until the process is gone, however it went. */
export interface DiskLock {
  release(): Promise<void>;
}

export interface Disk {
  /** `read-write` creates the file when it is missing. */
  open(path: string, mode: 'read' | 'read-write'): Promise<DiskFile>;
  exists(path: string): Promise<boolean>;
  /** The names in a directory, sorted; empty when the directory is missing. */
  list(directory: string): Promise<string[]>;
  /** With all its parents, whose new names are durable when this resolves. */
  makeDirectory(directory: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  syncDirectory(directory: string): Promise<void>;
  /** Bytes a process of ours may still write on the file system that holds `path`. */
  freeBytes(path: string): Promise<number>;
  /** Takes the directory for this process; rejects with DIRECTORY_IN_USE naming the holder. */
  lock(directory: string): Promise<DiskLock>;
}
