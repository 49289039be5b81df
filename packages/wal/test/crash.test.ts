import { describe, expect, it } from '@jest/globals';
import { createPrng } from '@robustmq/stdx/prng';
import { SimDisk } from '../src/testing/index.js';
import { LogUnderFaults, step } from './log-under-faults.js';

/** A fixed life that rolls, checkpoints, uses files again, takes a frame larger than a file, and closes. */
async function fixedLife(log: LogUnderFaults): Promise<void> {
  await log.open();
  await log.append(3);
  await log.append(8);
  await log.append(6);
  await log.checkpoint();
  await log.append(8);
  await log.append(1, 12_000);
  await log.checkpoint();
  await log.append(10);
  await log.checkpoint();
  await log.append(4);
  await log.close();
}

/** The life up to the moment the disk halts: what it was refused is no fault. */
async function until(life: (log: LogUnderFaults) => Promise<void>, log: LogUnderFaults): Promise<void> {
  try {
    await life(log);
  } catch (error) {
    if (!log.disk.halted) throw error;
  }
}

async function operationsOf(life: (log: LogUnderFaults) => Promise<void>, seed: string): Promise<number> {
  const disk = new SimDisk(createPrng('any'));
  await life(new LogUnderFaults(disk, createPrng(seed)));
  return disk.operations;
}

describe('a crash at any moment', () => {
  for (const how of ['crash', 'kill'] as const) {
    it(`loses nothing acknowledged and brings nothing back: ${how} after every operation of a life`, async () => {
      const operations = await operationsOf(fixedLife, 'enumerated 1');
      expect(operations).toBeGreaterThan(60);
      for (let at = 0; at <= operations; at++) {
        for (let variant = 0; variant < (how === 'crash' ? 6 : 1); variant++) {
          const disk = new SimDisk(createPrng(`${at}/${variant}`));
          const log = new LogUnderFaults(disk, createPrng(`enumerated ${variant % 3}`));
          disk.haltAfter(at);
          await until(fixedLife, log);
          disk[how]();
          // The second life begins with a shorter write than the torn one, and is cut as well.
          await log.open();
          await log.append(1, 40);
          await log.append(3, 200);
          disk[how]();
          await log.open();
          await log.append(2);
          await log.checkpoint();
          await log.close();
          await log.open();
        }
      }
    }, 60_000);
  }

  it('keeps its promises over random lives', async () => {
    for (let seed = 0; seed < 2000; seed++) {
      const prng = createPrng(seed);
      const disk = new SimDisk(prng.fork('disk'));
      const log = new LogUnderFaults(disk, prng.fork('load'));
      try {
        await severalLives(log, prng.fork('lives'));
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  }, 60_000);
});

async function severalLives(log: LogUnderFaults, prng: ReturnType<typeof createPrng>): Promise<void> {
  const { disk } = log;
  for (let life = 0; life < 4; life++) {
    disk.haltAfter(prng.between(1, 60));
    await until(async () => {
      await log.open();
      for (let i = 0; i < 6; i++) await step(log, prng);
      if (prng.chance(0.3)) await log.close();
    }, log);
    if (prng.chance(0.7)) disk.crash();
    else disk.kill();
  }
  await log.open();
  await log.append(1);
  await log.close();
}
