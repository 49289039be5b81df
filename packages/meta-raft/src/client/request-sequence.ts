import { randomBytes } from 'node:crypto';
import { MetaError } from '../errors.js';
import type { RequestIdentity } from '../state/command.js';
import { REQUESTS_PER_CLIENT_MAX } from '../state/request-table.js';

/**
 * Numbers a client's writes, so that the state can tell a retry from a new one.
 *
 * The client id is drawn from the system's randomness and not from a Prng argument: two clients with the same id
 * would be answered with each other's results. A test may give its own.
 */
export class RequestSequence {
  readonly #client: string;
  #next = 1;
  #introduction: Promise<void> | undefined;
  /** Begun and not ended, oldest first: numbers are begun in rising order. */
  readonly #outstanding = new Set<number>();

  constructor(client: string = randomBytes(12).toString('base64url')) {
    this.#client = client;
  }

  /** Throws OVERLOADED when more writes are under way than the state remembers of one client. */
  begin(): RequestIdentity {
    if (this.#outstanding.size >= REQUESTS_PER_CLIENT_MAX) {
      throw new MetaError(
        'OVERLOADED',
        `${REQUESTS_PER_CLIENT_MAX} writes of this client are under way already. Wait for some of them.`,
      );
    }
    const sequence = this.#next++;
    this.#outstanding.add(sequence);
    const [oldest = sequence] = this.#outstanding;
    return { client: this.#client, sequence, settledBelow: oldest, attempt: 1 };
  }

  /**
   * Resolves when the state knows the client, which is what makes a retry of its first write recognisable: `introduce`
   * sends an empty transaction under the identity it is given, and may repeat it freely, because it changes nothing.
   */
  introduced(introduce: (identity: RequestIdentity) => Promise<void>): Promise<void> {
    this.#introduction ??= this.#introduce(introduce);
    return this.#introduction;
  }

  /** Whatever came of it: it will not be repeated. */
  end(identity: RequestIdentity): void {
    this.#outstanding.delete(identity.sequence);
  }

  async #introduce(introduce: (identity: RequestIdentity) => Promise<void>): Promise<void> {
    const identity = this.begin();
    try {
      await introduce({ ...identity, attempt: 0 });
    } catch (error) {
      this.#introduction = undefined; // the next write tries again
      throw error;
    } finally {
      this.end(identity);
    }
  }
}
