#!/usr/bin/env node
// Adds up what every package's jest run wrote, prints what failed, and closes with one line for people and CI.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const total = { passed: 0, failed: 0, skipped: 0 };

for (const folder of ['packages', 'apps', 'tools', 'tests', 'examples']) {
  if (!existsSync(join(root, folder))) continue;
  for (const name of readdirSync(join(root, folder)).sort()) {
    const file = join(root, folder, name, '.test-results.json');
    if (!existsSync(file)) continue;
    const results = JSON.parse(readFileSync(file, 'utf8'));
    total.passed += results.numPassedTests;
    total.failed += results.numFailedTests + results.numRuntimeErrorTestSuites;
    total.skipped += results.numPendingTests;
    for (const suite of results.testResults) {
      if (suite.status === 'failed') report(suite);
    }
  }
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);

function report(suite) {
  console.log(`failed: ${relative(root, suite.name)}`);
  for (const test of suite.assertionResults) {
    if (test.status === 'failed') console.log(`  ${test.fullName}`);
  }
}
