import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';

/** What was opened, to be closed in the opposite order. One that fails to close does not keep the others open. */
export class CloseStack {
  readonly #logger: Logger;
  readonly #closers: { readonly what: string; readonly close: () => Promise<void> | void }[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  push(what: string, close: () => Promise<void> | void): void {
    this.#closers.push({ what, close });
  }

  /** Never rejects. A second call finds nothing to do. */
  async close(): Promise<void> {
    for (let next = this.#closers.pop(); next; next = this.#closers.pop()) {
      try {
        await next.close();
      } catch (error) {
        this.#logger.warn({ what: next.what, error: errorMessage(error) }, 'could not be closed');
      }
    }
  }
}
