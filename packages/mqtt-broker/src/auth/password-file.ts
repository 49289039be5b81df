// Users in a file, one a line, as mosquitto_passwd writes them:
//
//   # a comment
//   ann:scrypt$16384$8$1$…$…
//   bob:$7$101$…$…
//
//   U1. A file is in force whole or not at all: one line that cannot be read, and the users from before stay.
//   U2. At start there are none from before, and the start fails.

import { readFile } from 'node:fs/promises';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { MqttError } from '../errors.js';
import { type PasswordHash, parsePasswordHash } from './password-hash.js';
import type { UserSource } from './password-users.js';

/** How often the file is read, in milliseconds. */
const CHECK_INTERVAL_MS = 30_000;

export interface PasswordFileDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class PasswordFile implements UserSource {
  readonly #path: string;
  readonly #deps: PasswordFileDeps;
  #text: string;
  #refused: string | undefined;
  #hashes: ReadonlyMap<string, PasswordHash>;
  #timer: Timer | undefined;
  #state: 'open' | 'closed' = 'open';

  private constructor(path: string, deps: PasswordFileDeps, text: string) {
    this.#path = path;
    this.#deps = deps;
    this.#text = text;
    this.#hashes = parsePasswordFile(path, text);
    this.#arm();
  }

  /** Errors: INVALID_OPTION, with the line that cannot be read (U2). */
  static async open(path: string, deps: PasswordFileDeps): Promise<PasswordFile> {
    return new PasswordFile(path, deps, await read(path));
  }

  get size(): number {
    return this.#hashes.size;
  }

  hashOf(username: string): PasswordHash | undefined {
    return this.#hashes.get(username);
  }

  /** Reads the file now. Never rejects (U1). */
  async check(): Promise<void> {
    const { logger } = this.#deps;
    let text: string | undefined;
    try {
      text = await read(this.#path);
      if (text === this.#text) return;
      this.#hashes = parsePasswordFile(this.#path, text);
      this.#text = text;
      this.#refused = undefined;
      logger.info({ file: this.#path, users: this.#hashes.size }, 'a new password file is in force');
    } catch (error) {
      const problem = text ?? 'unreadable';
      if (problem !== this.#refused) {
        logger.error({ error: errorMessage(error) }, 'the password file cannot be read: the users from before stay');
      }
      this.#refused = problem;
    }
  }

  close(): void {
    this.#state = 'closed';
    this.#timer?.cancel();
  }

  #arm(): void {
    this.#timer = this.#deps.clock.setTimer(CHECK_INTERVAL_MS, () => {
      void this.check().then(() => {
        if (this.#state === 'open') this.#arm();
      });
    });
  }
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new MqttError('INVALID_OPTION', `cannot read the password file ${path}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/** Errors: INVALID_OPTION, with the number of the line, and never with what stands in it. */
export function parsePasswordFile(path: string, text: string): ReadonlyMap<string, PasswordHash> {
  const hashes = new Map<string, PasswordHash>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const hash = colon < 1 ? undefined : parsePasswordHash(line.slice(colon + 1));
    if (hash === undefined) {
      throw new MqttError('INVALID_OPTION', `${path}:${index + 1}: not name:hash, with a hash of scrypt or $7$`);
    }
    hashes.set(line.slice(0, colon), hash);
  }
  return hashes;
}
