import type { Finding } from './finding.js';

/** A document has one title, on its first line, and its links to other files lead somewhere. */
export function checkMarkdown(path: string, text: string, exists: (path: string) => boolean): Finding[] {
  const findings: Finding[] = [];
  const prose = text.replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, ''));
  const lines = prose.split('\n');
  const titles = lines.flatMap((line, i) => (/^# /.test(line) ? [i + 1] : []));
  if (titles.length !== 1 || titles[0] !== 1)
    findings.push({ rule: 'markdown-title', path, line: titles[1] ?? 1, what: 'one "# Title", on the first line' });
  lines.forEach((line, i) => {
    for (const [, target = ''] of line.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (!/^[a-z]+:/.test(target) && !exists(target))
        findings.push({ rule: 'markdown-link', path, line: i + 1, what: `${target} does not exist` });
    }
  });
  return findings;
}
