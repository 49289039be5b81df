// Starts a node alone in argv[2], puts keys 64 at a time, and says each on its own line once it is acknowledged:
// `key revision .` Runs until it is killed.

import { startMeta } from '../src/index.js';

const [, , dataDirectory = '', life = ''] = process.argv;
const meta = await startMeta({ nodeId: 1, clusterName: 'kill', dataDirectory });
process.stdout.write('ready . .\n');
let next = 0;

async function put(): Promise<never> {
  for (;;) {
    const key = `${life}-${next++}`;
    const { revision } = await meta.client.put(key, Buffer.from(key.repeat(10)));
    process.stdout.write(`${key} ${revision} .\n`);
  }
}

await Promise.all(Array.from({ length: 64 }, put));
