// Words we do not use, each with the one to use instead (docs/GLOSSARY.md). One idea has one noun, and a
// noun of one protocol is not lent to another.

import type { Finding } from './finding.js';
import { type SourceFile, walk } from './source-file.js';

export interface BannedWord {
  /** As a part of an identifier or file name, in lower case. */
  readonly word: string;
  readonly instead: string;
  /** Where the word is banned; everywhere when absent. */
  readonly under?: RegExp;
}

export const BANNED_WORDS: readonly BannedWord[] = [
  { word: 'utils', instead: 'the noun it is about; domain-free code goes to stdx' },
  { word: 'util', instead: 'the noun it is about; domain-free code goes to stdx' },
  { word: 'helper', instead: 'the noun it is about' },
  { word: 'helpers', instead: 'the noun it is about' },
  { word: 'manager', instead: 'the noun it keeps, or what it does' },
  { word: 'master', instead: 'leader' },
  { word: 'slave', instead: 'follower or replica' },
  { word: 'whitelist', instead: 'allowed' },
  { word: 'blacklist', instead: 'banned' },
  { word: 'lwt', instead: 'will', under: /^packages\/mqtt-broker\// },
  {
    word: 'partition',
    instead: 'shard (storage) or, between nodes, networkSplit',
    under: /^packages\/(journal-engine|storage-adapter|mqtt-broker)\/src\/(?!.*testing)/,
  },
  {
    word: 'topic',
    instead: 'nothing: this room knows no MQTT',
    under: /^packages\/(stdx|wal|meta-raft|journal-engine|storage-adapter)\/src\/(?!gen\/)/,
  },
  {
    word: 'mqtt',
    instead: 'nothing: this room knows no MQTT',
    under: /^packages\/(stdx|wal|journal-engine|storage-adapter)\/src\//,
  },
  {
    word: 'term',
    instead: 'epoch: term belongs to Raft',
    under: /^packages\/(wal|journal-engine|storage-adapter|mqtt-broker)\/src\//,
  },
  {
    word: 'raft',
    instead: 'nothing: this room knows only the meta client',
    under: /^packages\/(journal-engine|mqtt-broker|storage-adapter|wal)\/src\//,
  },
];

/** Files whose whole name is one of these are drawers without a label. */
const DRAWERS = new Set([
  'util',
  'utils',
  'common',
  'helper',
  'helpers',
  'manager',
  'misc',
  'tool',
  'tools',
  'inner',
  'base',
  'shared',
]);

export function checkWords(file: SourceFile): Finding[] {
  const findings: Finding[] = [];
  const stem =
    file.path
      .split('/')
      .at(-1)
      ?.replace(/(\.test)?\.ts$/, '') ?? '';
  if (DRAWERS.has(stem))
    findings.push({
      rule: 'drawer',
      path: file.path,
      line: 1,
      what: `a file named ${stem} says nothing: name it after its one main type`,
    });
  const seen = new Set<string>();
  for (const node of walk(file.module)) {
    if (node.type !== 'Identifier') continue;
    const name = String(node['value']);
    if (seen.has(name)) continue;
    seen.add(name);
    const banned = bannedIn(name, file.path);
    if (banned)
      findings.push({
        rule: 'word',
        path: file.path,
        line: file.firstLine(node),
        what: `"${banned.word}" in ${name}: say ${banned.instead}`,
      });
  }
  return findings;
}

export function bannedIn(identifier: string, path: string): BannedWord | undefined {
  const words = new Set(identifier.split(/(?=[A-Z])|[_$\d]+/).map((word) => word.toLowerCase()));
  return BANNED_WORDS.find(({ word, under }) => words.has(word) && (!under || under.test(path)));
}
