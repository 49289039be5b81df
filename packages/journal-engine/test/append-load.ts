// A process that appends until it is killed, and says on stdout what was acknowledged: `shard offset value .`, the dot last
// because a kill may cut a line.

import { systemClock } from '@robustmq/stdx/clock';
import { nodeDisk } from '@robustmq/wal';
import { startJournal } from '../src/start-journal.js';
import { openFileMeta } from './file-meta.js';

const [directory = '', metaPath = '', life = ''] = process.argv.slice(2);
const meta = await openFileMeta(metaPath);
const journal = await startJournal(
  { directory, segmentBytes: 64 * 1024, flushBytes: 32 * 1024, checkpointBytes: 128 * 1024, walFileBytes: 64 * 1024 },
  { disk: nodeDisk(), clock: systemClock, meta },
);
let values = 0;

async function load(name: string): Promise<void> {
  const shard = await journal.storage.createShard(name, { cleanup: 'keep' });
  for (;;) {
    const value = `${life}-${values++}-${'x'.repeat(values % 300)}`;
    const { firstOffset } = await journal.storage.append(shard, [{ payload: Buffer.from(value) }]);
    process.stdout.write(`${name} ${firstOffset} ${value} .\n`);
  }
}

await Promise.all(Array.from({ length: 48 }, (_, i) => load(`shard-${i % 3}`)));
