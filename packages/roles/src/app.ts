import type { AppIdentity, Node } from './node.js';

/** One of our programs. */
export interface App extends AppIdentity {
  readonly summary: string;
  /** Settings that are what this app is, whatever is configured: `{ roles: ['meta'] }`. */
  readonly fixed?: Readonly<Record<string, unknown>>;
  /** Starts everything, in order; resolves when the node is ready. */
  readonly serve: (node: Node) => Promise<void>;
}
