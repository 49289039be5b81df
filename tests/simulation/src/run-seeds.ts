// Runs a row of seeds, one line of JSON for each. Bundled by simulate.mjs, with or without a planted fault.

import { simulateMeta } from '@robustmq/meta-raft/testing';

const [from = '1', count = '1', seconds = '60', stride = '1', until = 'end'] = process.argv.slice(2);

let rejection: unknown;
process.on('unhandledRejection', (reason) => {
  rejection ??= reason;
});

for (let i = 0; i < Number(count); i++) {
  const seed = Number(from) + i * Number(stride);
  const report = await simulateMeta({ seed, seconds: Number(seconds) });
  const violation = report.violation ?? (rejection === undefined ? undefined : `nobody handled ${String(rejection)}`);
  process.stdout.write(`${JSON.stringify({ ...report, violation })}\n`);
  if (violation !== undefined && until === 'violation') break;
}
