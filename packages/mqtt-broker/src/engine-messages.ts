// The half of the engine that knows messages: their way in, the log, and their way out.

import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import { createPrng } from '@robustmq/stdx/prng';
import type { Offset, ShardId, ShardStorage } from '@robustmq/storage-adapter';
import { DeliveryStats } from './deliver/delivery-stats.js';
import { Dispatcher } from './deliver/dispatcher.js';
import { MessageReader } from './deliver/message-reader.js';
import type { ShareBacklog } from './deliver/share-backlog.js';
import { ShareDispatcher } from './deliver/share-dispatcher.js';
import type { ResolvedEngineOptions } from './engine-options.js';
import { MessageLog } from './publish/message-log.js';
import type { Publication } from './publish/publication.js';
import { PublishPath } from './publish/publish-path.js';
import { PublisherBrake } from './publish/publisher-brake.js';
import { RetainedFeed } from './retained/retained-feed.js';
import type { RetainedStore } from './retained/retained-store.js';
import { SubscriptionIndex } from './route/subscription-index.js';
import type { Session } from './session/session.js';
import { createShareStrategy } from './share/share-strategy.js';

/** The message shards as a start finds them; one entry per shard in each list. */
export interface OpenShards {
  readonly ids: readonly ShardId[];
  readonly starts: readonly Offset[];
  readonly ends: readonly Offset[];
}

export interface EngineMessagesDeps {
  readonly options: ResolvedEngineOptions;
  readonly storage: ShardStorage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly shards: OpenShards;
  readonly retained: RetainedStore;
  /** Seeds the random share strategies. */
  readonly seed: string;
  readonly onShareProgress: (backlog: ShareBacklog) => void;
  /** Records appeared in a message shard that were never handed out. */
  readonly onGap: (shard: number, from: number) => void;
}

export class EngineMessages {
  readonly stats = new DeliveryStats();
  readonly index: SubscriptionIndex<Session>;
  readonly reader: MessageReader;
  readonly shares: ShareDispatcher;
  readonly dispatcher: Dispatcher;
  readonly brake: PublisherBrake;
  readonly path: PublishPath;
  readonly log: MessageLog<Publication>;
  readonly retained: RetainedStore;
  readonly feed: RetainedFeed;

  constructor(deps: EngineMessagesDeps) {
    const { options, storage, clock, logger, shards, retained } = deps;
    const { stats } = this;
    const endOf = (shard: number) => this.log.endOf(shard);
    const prng = createPrng(deps.seed);
    this.retained = retained;
    this.index = new SubscriptionIndex<Session>({
      strategyFor: (group, filter) => createShareStrategy(options.shareStrategy, prng.fork(`${group}/${filter}`)),
    });
    this.reader = new MessageReader({ storage, clock, logger }, shards.ids);
    const { index, reader } = this;
    const onProgress = deps.onShareProgress;
    this.shares = new ShareDispatcher({ options, stats, clock, logger, reader, endOf, onProgress });
    this.dispatcher = new Dispatcher({ index, shares: this.shares, stats, shards: options.messageShards });
    this.brake = new PublisherBrake(
      { bytesMax: options.appendingBytesMax, messagesMax: options.appendingMessagesMax },
      () => this.log,
    );
    this.path = new PublishPath({ options, clock, logger, dispatcher: this.dispatcher, retained, brake: this.brake });
    this.log = this.#openLog(deps);
    this.path.writeTo(this.log);
    this.feed = new RetainedFeed({ retained, stats, clock, options });
  }

  /** Where the message shards end now. */
  ends(): number[] {
    return Array.from({ length: this.log.shards }, (_, shard) => this.log.endOf(shard));
  }

  /** A session has room or a connection again. */
  onRoom(session: Session): void {
    this.feed.resume(session);
    this.shares.onRoom();
  }

  /** Resolves when every append that was begun has ended. */
  async quiet(): Promise<void> {
    await Promise.all([this.log.quiet(), this.retained.quiet()]);
  }

  #openLog({ storage, clock, shards, onGap }: EngineMessagesDeps): MessageLog<Publication> {
    const { path } = this;
    const handler = {
      onStored: (publication: Publication, shard: number, offset: Offset) => path.onStored(publication, shard, offset),
      onRepeated: (publication: Publication, shard: number, offset: Offset) =>
        path.onRepeated(publication, shard, offset),
      onFollowed: (publication: Publication) => path.onFollowed(publication),
      onFailed: (publication: Publication, error: unknown) => path.onFailed(publication, error),
      onGap,
    };
    const open = shards.ids.map((id, n) => ({ id, end: shards.ends[n] as Offset })); // one per shard
    return new MessageLog<Publication>({ storage, clock, handler }, open);
  }
}
