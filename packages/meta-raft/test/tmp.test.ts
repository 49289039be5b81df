import { it } from '@jest/globals';
import { simulate } from '../src/testing/raft-simulation.js';
it('x', () => {
  const rows: string[] = [];
  for (let seed = 401; seed <= 2400; seed++) { try { simulate({ seed, steps: 2500 }); } catch (e) { rows.push(`seed ${seed} ${(e as Error).message}`); } }
  console.log('{done}', rows.join('\n'));
}, 600000);
