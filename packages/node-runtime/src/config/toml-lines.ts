// Where in a TOML text each key is written. The parser keeps no positions, and an error message needs them;
// so this reads the text once more, line by line, and knows only what is needed to find keys in a text the
// parser has already accepted. A key inside an inline table counts as written where that table begins.

/** Line numbers from 1 by key path, its parts joined with a NUL, which no key of ours holds. */
export type TomlLines = ReadonlyMap<string, number>;

const KEY = String.raw`(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')`;
const DOTTED = String.raw`${KEY}(?:\s*\.\s*${KEY})*`;
const TABLE_LINE = new RegExp(String.raw`^\s*\[{1,2}\s*(${DOTTED})\s*\]{1,2}`);
const KEY_LINE = new RegExp(String.raw`^\s*(${DOTTED})\s*=\s*(.*)$`);

export function findTomlLines(text: string): TomlLines {
  const lines = new Map<string, number>();
  let table: readonly string[] = [];
  let closing: string | undefined; // the delimiter of the multi-line string we are in
  for (const [zeroBased, line] of text.split('\n').entries()) {
    if (closing !== undefined) {
      if (line.includes(closing)) closing = undefined;
      continue;
    }
    const header = TABLE_LINE.exec(line);
    const assignment = header ? null : KEY_LINE.exec(line);
    const path = header ? keyParts(header[1] ?? '') : [...table, ...keyParts(assignment?.[1] ?? '')];
    if (header) table = path;
    if (header || assignment) lines.set(path.join('\0'), zeroBased + 1);
    closing = opensMultiLine(assignment?.[2] ?? '');
  }
  return lines;
}

/** The line of the key, or of the nearest table above it that is written out. */
export function lineOf(lines: TomlLines, path: readonly string[]): number | undefined {
  for (let depth = path.length; depth > 0; depth--) {
    const line = lines.get(path.slice(0, depth).join('\0'));
    if (line !== undefined) return line;
  }
  return undefined;
}

function keyParts(dotted: string): readonly string[] {
  return (dotted.match(new RegExp(KEY, 'g')) ?? []).map((part) => part.replace(/^(["'])(.*)\1$/, '$2'));
}

function opensMultiLine(value: string): string | undefined {
  for (const delimiter of ['"""', "'''"]) {
    if (value.startsWith(delimiter) && !value.slice(3).includes(delimiter)) return delimiter;
  }
  return undefined;
}
