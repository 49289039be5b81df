import { describe, expect, it } from '@jest/globals';
import { type SimulationReport, simulate } from '../src/testing/raft-simulation.js';

const SEEDS = 300;
const STEPS = 2500;

describe('the core under chaos', () => {
  it('keeps every safety property and works again when everything heals', () => {
    const total = { committed: 0, leaders: 0, crashes: 0, snapshots: 0, membershipChanges: 0, reads: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const report = simulateNaming(seed);
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key]; // the keys of a literal
    }
    // What was not provoked was not tested: each of these must have happened often enough to mean something.
    expect(total.committed).toBeGreaterThan(10 * SEEDS);
    expect(total.leaders).toBeGreaterThan(2 * SEEDS);
    expect(total.crashes).toBeGreaterThan(SEEDS);
    expect(total.snapshots).toBeGreaterThan(SEEDS / 10);
    expect(total.membershipChanges).toBeGreaterThan(SEEDS / 2);
    expect(total.reads).toBeGreaterThan(SEEDS);
  }, 180_000);

  it('does the same twice with the same seed', () => {
    for (const seed of [3, 17, 116]) expect(simulate({ seed, steps: 800 })).toEqual(simulate({ seed, steps: 800 }));
    expect(simulate({ seed: 3, steps: 800 }).trace).not.toBe(simulate({ seed: 4, steps: 800 }).trace);
  });
});

/** A failing seed replays by `simulate({ seed, steps: STEPS })`. */
function simulateNaming(seed: number): SimulationReport {
  try {
    return simulate({ seed, steps: STEPS });
  } catch (error) {
    throw new Error(`seed ${seed} of ${STEPS} steps`, { cause: error });
  }
}
