import { readFile } from 'node:fs/promises';
import { expect, it } from '@jest/globals';

it('README.md shows the example that runs', async () => {
  const read = (path: string) => readFile(new URL(path, import.meta.url), 'utf8');
  expect(await read('../README.md')).toContain(await read('./example.test.ts'));
});
