import { MemoryLevel } from 'memory-level';
import type { LevelDatabase } from '../storage/level-database.js';

/** A state's database that nothing outlives; for simulations, as `openDatabase` of startMeta(). */
export async function openMemoryDatabase(): Promise<LevelDatabase> {
  const db = new MemoryLevel<string, Buffer>({ keyEncoding: 'utf8', valueEncoding: 'buffer' });
  await db.open();
  return db as unknown as LevelDatabase; // both are AbstractLevel; only the options of Level name more than the base
}
