#!/usr/bin/env node
// Generates each owner's src/gen from proto/, with the local buf and ts-proto: no network.
//
//   node scripts/generate.mjs           writes
//   node scripts/generate.mjs --check   writes nothing; fails when what is committed differs
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

// Who owns what. The wire types of an owner stop at its service, client and transport directories.
const OWNERS = [
  {
    out: 'packages/meta-raft/src/gen',
    protos: ['proto/etcdserverpb', 'proto/mvccpb', 'proto/robustmq/raft'],
  },
  { out: 'packages/journal-engine/src/gen', protos: ['proto/robustmq/journal'] },
  { out: 'packages/mqtt-broker/src/gen', protos: ['proto/robustmq/broker'] },
  { out: 'packages/node-runtime/src/gen', protos: ['proto/grpc/health'] },
];

const OPTIONS = [
  'env=node',
  'esModuleInterop=true',
  'importSuffix=.js',
  'outputServices=grpc-js',
  // Revisions and indexes are numbers, and decoding throws beyond 2^53; ids that use all 64 bits say
  // jstype = JS_STRING in the .proto.
  'forceLong=number',
  'oneof=unions-value',
  'enumsAsLiterals=true',
  'removeEnumPrefix=true',
  'useOptionals=none',
  'unrecognizedEnum=false',
  'outputIndex=false',
  'useDate=string',
  'useJsTypeOverride=true',
  'outputJsonMethods=false',
  'outputPartialMethods=false',
];

function generate(owner, into) {
  const template = {
    version: 'v2',
    plugins: [{ local: join(root, 'node_modules/.bin/protoc-gen-ts_proto'), out: into, strategy: 'all', opt: OPTIONS }],
  };
  const paths = owner.protos.flatMap((path) => ['--path', path]);
  const buf = join(root, 'node_modules/.bin/buf');
  const run = spawnSync(buf, ['generate', '--template', JSON.stringify(template), ...paths], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (run.status !== 0) process.exit(run.status ?? 1);
}

function filesOf(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

function differences(committed, fresh) {
  const names = new Set([...filesOf(committed), ...filesOf(fresh)]);
  return [...names].filter((name) => {
    const [a, b] = [join(committed, name), join(fresh, name)];
    return !existsSync(a) || !existsSync(b) || !readFileSync(a).equals(readFileSync(b));
  });
}

const mode = process.argv.includes('--check') ? 'check' : 'write';
const scratch = mkdtempSync(join(tmpdir(), 'robustmq-gen-'));
let stale = 0;
try {
  for (const owner of OWNERS) {
    if (!owner.protos.some((path) => existsSync(join(root, path)))) continue;
    const fresh = join(scratch, owner.out);
    generate(owner, fresh);
    const committed = join(root, owner.out);
    if (mode === 'write') {
      rmSync(committed, { recursive: true, force: true });
      cpSync(fresh, committed, { recursive: true });
      continue;
    }
    for (const name of differences(committed, fresh)) {
      console.error(`${owner.out}/${name} differs from what proto/ generates. Run \`pnpm gen\` and commit the result.`);
      stale++;
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exit(stale === 0 ? 0 : 1);
