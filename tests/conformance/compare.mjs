// Compares two sessions command by command. `known-differences.txt` has one command a line, after the reason in the
// comment above it; a command in it that no longer differs is as wrong as one that differs and is not in it.
import { readFileSync } from 'node:fs';

const [theirs, ours] = process.argv.slice(2, 4).map((file) => commandsOf(readFileSync(file, 'utf8')));
const known = new Set(
  readFileSync(process.argv[4], 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('$ ')),
);

const differing = [...theirs].filter(([command, printed]) => ours.get(command) !== printed);
let wrong = 0;
let expected = 0;
for (const [command, printed] of differing) {
  const said = known.has(command) ? 'known: ' : 'DIFFERS: ';
  if (known.has(command)) expected++;
  else wrong++;
  console.log(`${said}${command}`);
  if (known.has(command)) continue;
  for (const line of printed.split('\n')) console.log(`  etcd | ${line}`);
  for (const line of (ours.get(command) ?? '(was not run)').split('\n')) console.log(`  ours | ${line}`);
}
const names = new Set(differing.map(([command]) => command));
for (const command of known) {
  if (names.has(command)) continue;
  wrong++;
  console.log(`NO LONGER DIFFERS: ${command}: take it out of known-differences.txt`);
}
console.log(`${theirs.size} commands, ${differing.length} differ, ${expected} of them known`);
process.exit(wrong === 0 ? 0 : 1);

/** What each printed, under the line that names it. */
function commandsOf(text) {
  const commands = new Map();
  let command = '(before the first)';
  for (const line of text.split('\n')) {
    if (line.startsWith('# ')) continue;
    if (line.startsWith('$ ')) {
      command = line;
      for (let again = 2; commands.has(command); again++) command = `${line} (${again})`;
      commands.set(command, '');
    } else if (line !== '' || commands.has(command)) {
      commands.set(command, `${commands.get(command) ?? ''}${commands.get(command) ? '\n' : ''}${line}`);
    }
  }
  return commands;
}
