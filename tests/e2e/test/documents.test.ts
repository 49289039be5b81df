// What the documents tell people to type is something the programs know.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { repositoryRoot, runCommand } from '../src/server-process.js';

const DOCUMENTS = ['README.md', 'docs/guides/security.md', 'docs/guides/external-storage.md'];

interface Typed {
  readonly words: readonly string[];
  readonly flags: readonly string[];
  readonly settings: readonly string[];
}

/** The lines of code blocks that call robust-server, taken apart. */
function typedIn(document: string): Typed[] {
  const text = readFileSync(join(repositoryRoot, document), 'utf8');
  const blocks = [...text.matchAll(/^```(?:sh)?\n([\s\S]*?)^```/gm)].map(([, block = '']) => block);
  return blocks
    .flatMap((block) => block.replaceAll('\\\n', ' ').split('\n'))
    .flatMap((line) => {
      const [, rest] =
        /(?:^|[ /|])robust-server ((?:start|stop|status|version|config|users|acl|meta)\b.*)$/.exec(line) ?? [];
      if (rest === undefined) return [];
      const command = rest.replace(/ #.*$/, '');
      return [
        {
          words: /^[a-z]+(?: (?:check|print|add|remove|list|set|repair)\b)?/.exec(command)?.[0].split(' ') ?? [],
          flags: [...command.matchAll(/ (--[a-z-]+)/g)].map(([, flag = '']) => flag),
          settings: [...command.matchAll(/--set '?([a-z_.]+)(?:\.\d+)?=/g)].map(([, key = '']) => key),
        },
      ];
    });
}

describe('what documents say to type', () => {
  const typed = DOCUMENTS.flatMap(typedIn);
  const commands = [...new Set(typed.map(({ words }) => words.join(' ')))];

  it('is found', () => {
    expect(commands).toEqual(
      expect.arrayContaining(['start', 'stop', 'status', 'config check', 'config print', 'users add']),
    );
  });

  for (const command of commands) {
    it(`robust-server ${command}`, async () => {
      const { code, stdout } = await runCommand([...command.split(' '), '--help']);
      expect(code).toBe(0);
      const flags = typed.filter(({ words }) => words.join(' ') === command).flatMap((one) => one.flags);
      for (const flag of flags) expect(stdout).toContain(flag);
    }, 20_000);
  }

  it('settings that exist', () => {
    const reference = readFileSync(join(repositoryRoot, 'docs/reference/configuration.md'), 'utf8');
    const unknown = typed.flatMap(({ settings }) => settings).filter((key) => !reference.includes(`\`${key}\``));
    expect(unknown).toEqual([]);
  });
});
