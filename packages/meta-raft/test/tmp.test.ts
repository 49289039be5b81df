import { it } from '@jest/globals';
import { simulate } from '../src/testing/raft-simulation.js';

it('x', () => {
  const rows = [];
  for (let seed = 1; seed <= 40; seed++) rows.push(JSON.stringify(simulate({ seed, steps: 2500 })));
  console.log(rows.join('\n'));
});
