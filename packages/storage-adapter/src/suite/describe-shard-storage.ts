import { describe, expect, it } from '@jest/globals';
import { ShardStorage } from '../shard-storage.js';
import { appendSuite } from './append-suite.js';
import { findSuite } from './find-suite.js';
import { lifecycleSuite } from './lifecycle-suite.js';
import { producerSuite } from './producer-suite.js';
import { SuiteContext, type SuiteOptions } from './suite-context.js';

/**
 * The tests every driver passes. To be called in a jest test file:
 *
 *     describeShardStorage('my engine', { open: (directory) => openMyEngine(directory), persistent: true });
 *
 * What the driver claims in its capabilities is tested; what it does not claim must be refused with NOT_SUPPORTED.
 */
export function describeShardStorage(name: string, options: SuiteOptions): void {
  describe(`shard storage on ${name}`, () => {
    const context = new SuiteContext(options);

    it('claims what it can', () => {
      expect(context.storage).toBeInstanceOf(ShardStorage);
      const { durability } = context.storage.capabilities;
      expect(['replicated-fsync', 'single-fsync', 'bounded-loss', 'memory']).toContain(durability);
      expect(durability === 'memory').toBe(!options.persistent);
      expect(context.storage.state).toBe('open');
    });

    appendSuite(context);
    findSuite(context);
    producerSuite(context);
    lifecycleSuite(context);
  });
}
