import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import { describeFinding } from '../src/finding.js';
import { checkRepository } from '../src/repository.js';

it('this repository is tidy', () => {
  const ratchet = JSON.parse(readFileSync(new URL('../ratchet.json', import.meta.url), 'utf8'));
  const findings = checkRepository(fileURLToPath(new URL('../../..', import.meta.url)), ratchet);
  expect(findings.map(describeFinding)).toEqual([]);
}, 60_000);
