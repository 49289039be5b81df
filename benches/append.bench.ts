// Durable appends of 256 B: a bare file with write + fdatasync (what the disk can do), our write-ahead log, and the
// journal on top of it. One in flight, and 1,000 in flight.
// Floor: the journal at 1,000 in flight reaches 50 % of the bare file's group commit; goal 70 %.

import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { startJournal } from '@robustmq/journal-engine';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { systemClock } from '@robustmq/stdx/clock';
import { nodeDisk, Wal } from '@robustmq/wal';
import { type BenchContext, measured, quantile, spread, table } from './statistics.js';

const RECORD = Buffer.alloc(256, 'x');

interface Run {
  readonly perSecond: number;
  readonly cpuMicroseconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Appends until `total` are durable, never more than `inFlight` under way; `append` calls back when one is. */
async function drive(total: number, inFlight: number, append: (done: () => void) => void): Promise<Run> {
  const latencies: number[] = [];
  let started = 0;
  let finished = 0;
  const { seconds, cpuSeconds } = await measured(
    () =>
      new Promise((resolve) => {
        const next = () => {
          started++;
          const from = performance.now();
          append(() => {
            latencies.push(performance.now() - from);
            if (++finished === total) resolve();
            else if (started < total) next();
          });
        };
        for (let i = 0; i < Math.min(inFlight, total); i++) next();
      }),
  );
  return {
    perSecond: total / seconds,
    cpuMicroseconds: (cpuSeconds / total) * 1e6,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}

/** Everything that waits goes out in one writev, one fdatasync for all, again. */
async function bareFile(directory: string, total: number, inFlight: number): Promise<Run> {
  const file = await open(join(directory, 'bare'), 'w');
  let waiting: (() => void)[] = [];
  let busy = false;
  let at = 0;
  const flush = async () => {
    busy = true;
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      const bytes = Buffer.concat(group.map(() => RECORD));
      await file.write(bytes, 0, bytes.length, at);
      at += bytes.length;
      await file.datasync();
      for (const done of group) done();
    }
    busy = false;
  };
  try {
    return await drive(total, inFlight, (done) => {
      waiting.push(done);
      if (!busy) void flush();
    });
  } finally {
    await file.close();
  }
}

async function wal(directory: string, total: number, inFlight: number): Promise<Run> {
  const log = await Wal.open({ directory: join(directory, 'wal') }, { disk: nodeDisk(), clock: systemClock }, () => {});
  try {
    return await drive(total, inFlight, (done) => {
      log.append(1, [RECORD], (error) => {
        if (error) throw error;
        done();
      });
    });
  } finally {
    await log.close();
  }
}

async function journal(directory: string, total: number, inFlight: number): Promise<Run> {
  const meta = createMemoryMeta();
  const engine = await startJournal(
    { directory: join(directory, 'journal') },
    { disk: nodeDisk(), clock: systemClock, meta },
  );
  try {
    const shard = await engine.storage.createShard('bench', { cleanup: 'keep' });
    return await drive(total, inFlight, (done) => {
      void engine.storage.append(shard, [{ payload: RECORD }]).then(done);
    });
  } finally {
    await engine.close();
  }
}

export async function run({ quick, scratch }: BenchContext): Promise<string> {
  const rounds = quick ? 1 : 5;
  const contenders = {
    'bare file, write + fdatasync': bareFile,
    'write-ahead log': wal,
    'journal (one record an append)': journal,
  };
  const results = new Map<string, Run[]>();
  for (let round = 0; round < rounds; round++) {
    for (const [inFlight, total] of [
      [1, quick ? 200 : 1_000],
      [1_000, quick ? 20_000 : 200_000],
    ] as const) {
      for (const [name, contender] of Object.entries(contenders)) {
        const directory = join(scratch, `${round}-${inFlight}-${name.replace(/\W+/g, '-')}`);
        await mkdir(directory);
        const key = `${name}|${inFlight}`;
        results.set(key, [...(results.get(key) ?? []), await contender(directory, total, inFlight)]);
      }
    }
  }
  const base = (inFlight: string) =>
    quantile(
      (results.get(`bare file, write + fdatasync|${inFlight}`) ?? []).map((r) => r.perSecond),
      0.5,
    );
  const rows = [...results].map(([key, runs]) => {
    const [name = '', inFlight = ''] = key.split('|');
    const ratio =
      quantile(
        runs.map((r) => r.perSecond),
        0.5,
      ) / base(inFlight);
    return [
      name,
      inFlight,
      spread(runs.map((r) => r.perSecond)),
      ratio.toFixed(2),
      spread(
        runs.map((r) => r.cpuMicroseconds),
        1,
      ),
      spread(
        runs.map((r) => r.p50Ms),
        2,
      ),
      spread(
        runs.map((r) => r.p99Ms),
        2,
      ),
    ];
  });
  return table(
    [
      '256 B, durable',
      'in flight',
      'appends/s (min / median / max)',
      'of the bare file',
      'µs CPU each',
      'p50 ms',
      'p99 ms',
    ],
    rows,
  );
}
