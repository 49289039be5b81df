// Whether the engine takes appends, and why not.
//
// Invariants:
//   E1. `failed` is final: no append is acknowledged after a sync error (journal I12).
//   E2. `read-only` refuses appends and nothing else; it ends when there is space again.

import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { StorageError } from '@robustmq/storage-adapter';

export type EngineStatus =
  | { readonly kind: 'writable' }
  | { readonly kind: 'read-only'; readonly reason: string }
  | { readonly kind: 'failed'; readonly cause: unknown };

export class EngineState {
  readonly #logger: Logger;
  #status: EngineStatus = { kind: 'writable' };

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get status(): EngineStatus {
    return this.#status;
  }

  get failed(): boolean {
    return this.#status.kind === 'failed';
  }

  /** Why an append is refused now; undefined when it is not. */
  refusal(): StorageError | undefined {
    switch (this.#status.kind) {
      case 'writable':
        return undefined;
      case 'read-only':
        return new StorageError('DISK_FULL', `the journal takes no records: ${this.#status.reason}`);
      case 'failed':
        return failedError(this.#status.cause);
    }
  }

  fail(cause: unknown): void {
    if (this.failed) return;
    this.#status = { kind: 'failed', cause };
    this.#logger.error(
      { error: cause },
      `journal failed and takes nothing more until a restart: ${errorMessage(cause)}`,
    );
  }

  becomeReadOnly(reason: string): void {
    if (this.#status.kind !== 'writable') return; // E1
    this.#status = { kind: 'read-only', reason };
    this.#logger.warn(`journal is read-only: ${reason}`);
  }

  becomeWritable(): void {
    if (this.#status.kind !== 'read-only') return; // E1
    this.#status = { kind: 'writable' };
    this.#logger.info('journal takes records again: there is space');
  }
}

export function failedError(cause: unknown): StorageError {
  return new StorageError(
    'FAILED',
    `the journal failed (${errorMessage(cause)}); what was acknowledged is safe, restart to go on`,
    { cause },
  );
}
