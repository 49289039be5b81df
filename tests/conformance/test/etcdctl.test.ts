// Debian's etcdctl against our nodes and against etcd's. `.ci/run` installs both; where they are absent this test is
// skipped, and says so.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';

const installed = ['etcd', 'etcdctl'].every((tool) => spawnSync(tool, ['--version']).error === undefined);
if (!installed) {
  process.stderr.write('skipped: etcd and etcdctl are not installed (apt-get install etcd-client etcd-server)\n');
}

(installed ? it : it.skip)(
  'etcdctl prints for our nodes what it prints for those of etcd',
  async () => {
    const script = fileURLToPath(new URL('../etcdctl.sh', import.meta.url));
    const child = spawn(script, { stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        printed += chunk;
      });
    }
    const [code] = await once(child, 'close');
    expect({ code, printed }).toEqual({ code: 0, printed });
    process.stderr.write(`etcdctl: ${printed.trim().split('\n').at(-1)}\n`);
  },
  180_000,
);
