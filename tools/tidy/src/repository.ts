// The files of this repository, and every rule over them.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Finding } from './finding.js';
import { checkMarkdown } from './markdown.js';
import { checkOrphans } from './orphans.js';
import { checkPromises } from './promises.js';
import { checkRooms } from './rooms.js';
import { checkSizes, type Ratchet } from './sizes.js';
import { SourceFile } from './source-file.js';
import { checkWords } from './words.js';

export function checkRepository(root: string, ratchet: Ratchet): Finding[] {
  const paths = trackedFiles(root);
  const sources = paths
    .filter((path) => path.endsWith('.ts') && !/\/gen\/|\.d\.ts$/.test(path))
    .map((path) => SourceFile.read(root, path));
  const documents = paths.filter((path) => path.endsWith('.md') && !/CHANGELOG|^\.changeset\//.test(path));
  return [
    ...sources.flatMap((file) => [
      ...checkSizes(file, ratchet),
      ...checkWords(file),
      ...checkRooms(file),
      ...checkPromises(file),
    ]),
    ...checkOrphans(sources),
    ...documents.flatMap((path) =>
      checkMarkdown(path, readFileSync(join(root, path), 'utf8'), (target) =>
        existsSync(join(root, dirname(path), target)),
      ),
    ),
  ];
}

/** What git tracks, and what it would: a new file is checked before it is added. */
function trackedFiles(root: string): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  return listed.split('\n').filter((path) => path !== '' && existsSync(join(root, path)));
}
