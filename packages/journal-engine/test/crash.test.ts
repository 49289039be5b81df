import { describe, expect, it } from '@jest/globals';
import { createPrng } from '@robustmq/stdx/prng';
import { CrashWorkload } from './crash-workload.js';

const RANDOM_SEEDS = Number(process.env['SEEDS'] ?? 300);
const LIVES = 4;
const OPERATIONS = 16;

/** One workload, stopped after `operations` disk operations, reopened and checked, then run on and checked again. */
async function crashAfter(seed: number, operations: number): Promise<'cut' | 'finished'> {
  const workload = new CrashWorkload(`every ${seed}`);
  workload.disk.haltAfter(operations);
  if (await workload.open()) await workload.run(OPERATIONS);
  const outcome = workload.disk.halted ? 'cut' : 'finished';
  await workload.crash(operations % 4 === 0 ? 'process' : 'power');
  expect(await workload.open()).toBe(true);
  await workload.check();
  await workload.run(4);
  await workload.check();
  await workload.closeCleanly();
  return outcome;
}

async function randomLives(seed: number): Promise<void> {
  const prng = createPrng(`lives ${seed}`);
  const workload = new CrashWorkload(`random ${seed}`);
  for (let life = 0; life < LIVES; life++) {
    workload.disk.haltAfter(prng.between(1, 400));
    if (await workload.open()) {
      await workload.check();
      await workload.run(OPERATIONS);
    }
    await workload.crash(prng.chance(0.8) ? 'power' : 'process');
  }
  expect(await workload.open()).toBe(true);
  await workload.check();
  await workload.closeCleanly();
}

describe('a crash', () => {
  it('after any disk operation of a workload loses nothing that was acknowledged', async () => {
    let operations = 0;
    while ((await crashAfter(1, operations)) === 'cut') operations++;
    expect(operations).toBeGreaterThan(100);
  }, 60_000);

  it(`in any of ${RANDOM_SEEDS} random histories of ${LIVES} lives loses nothing that was acknowledged`, async () => {
    for (let seed = 0; seed < RANDOM_SEEDS; seed++) {
      try {
        await randomLives(seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      }
    }
  }, 1_200_000);
});
