// The places of share groups in the log: kept from the first durable member on, deleted with the last.
//
//   E1. A group's place is kept before the SUBACK of the member that made it durable: what is acknowledged to
//       publishers after that reaches the group, whatever happens.

import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { ShareBacklog } from '../deliver/share-backlog.js';
import type { ShareDispatcher } from '../deliver/share-dispatcher.js';
import type { SubscriptionIndex } from '../route/subscription-index.js';
import type { SharedGroup } from '../share/shared-group.js';
import type { CursorKeeper } from './cursor-keeper.js';
import type { Session } from './session.js';

interface GroupName {
  readonly group: string;
  readonly filter: string;
}

export interface ShareKeeperDeps {
  readonly index: SubscriptionIndex<Session>;
  readonly shares: ShareDispatcher;
  readonly cursors: CursorKeeper;
  readonly logger: Logger;
  /** Where the message shards end now. */
  readonly ends: () => readonly number[];
}

export class ShareKeeper {
  readonly #deps: ShareKeeperDeps;
  /** Groups of restored sessions, until restore() gives them their places. */
  #restoring: Map<string, GroupName> | undefined = new Map();

  constructor(deps: ShareKeeperDeps) {
    this.#deps = deps;
  }

  /** Members have come or gone. Resolves when the group's place is kept or deleted (E1). Errors: StorageError. */
  async changed(name: GroupName): Promise<void> {
    if (this.#restoring !== undefined) {
      this.#restoring.set(`${name.group}/${name.filter}`, name);
      return;
    }
    const { index, shares, cursors, ends } = this.#deps;
    const group = index.groupOf(name);
    if (group === undefined) {
      const gone = shares.forget(name);
      if (gone?.isDurable) await cursors.forget(gone);
      return;
    }
    const backlog = shares.backlogOf(group);
    const wanted = isDurable(group);
    if (wanted === backlog.isDurable) return;
    if (wanted) {
      backlog.becomeDurable(ends());
      backlog.cursorState = 'committed';
      await cursors.commit(backlog);
    } else {
      backlog.becomeTransient();
      await cursors.forget(backlog);
    }
  }

  /** All sessions are back: their groups go on where they were. Errors: StorageError. */
  async restore(): Promise<void> {
    const { index, shares, cursors } = this.#deps;
    const names = this.#restoring ?? new Map<string, GroupName>();
    this.#restoring = undefined;
    for (const name of names.values()) {
      const group = index.groupOf(name);
      if (group === undefined || !isDurable(group)) continue;
      const backlog = shares.backlogOf(group);
      const places = await cursors.read(backlog.consumer, []);
      backlog.becomeDurable(places);
      cursors.restored(backlog, places);
      shares.wake(backlog);
    }
  }

  /** As changed(), for those who cannot wait. */
  noteChange(name: GroupName): void {
    this.changed(name).catch((error: unknown) => {
      this.#deps.logger.warn(
        { ...name, error: errorMessage(error) },
        'the place of a share group could not be deleted',
      );
    });
  }

  *owners(): Generator<ShareBacklog> {
    for (const backlog of this.#deps.shares.backlogs()) if (backlog.isDurable) yield backlog;
  }
}

function isDurable(group: SharedGroup<Session>): boolean {
  return group.members.some(({ session, qos }) => qos > 0 && session.lifetime === 'durable');
}
