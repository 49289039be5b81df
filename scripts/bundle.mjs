#!/usr/bin/env node
// Bundles the app in the current folder into dist/<app>.mjs: one file, straight from the sources of all packages,
// with the native part of `level` beside it in dist/native/ and a launcher in dist/bin/.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const app = basename(process.cwd());
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

/** CommonJS packages inside an ESM bundle still ask for require, __filename and __dirname. */
const banner = [
  "import { createRequire as __createRequire } from 'node:module';",
  "import { fileURLToPath as __fileURLToPath } from 'node:url';",
  'const require = __createRequire(import.meta.url);',
  'const __bundleFile = __fileURLToPath(import.meta.url);',
  "const __bundleFolder = __fileURLToPath(new URL('.', import.meta.url));",
].join('\n');

/** Clients of external engines: who configures one installs it beside the program (docs/guides/external-storage.md). */
const EXTERNAL = ['ioredis', 'pg'];

/** The addon of classic-level for each platform we ship. N-API: one file serves every Node from 20 on. */
const PREBUILDS = {
  'linux-x64': 'linux-x64/classic-level.node',
  'linux-x64-musl': 'linux-x64/classic-level.musl.node',
  'linux-arm64': 'linux-arm64/classic-level.armv8.node',
  'darwin-x64': 'darwin-x64+arm64/classic-level.node',
  'darwin-arm64': 'darwin-x64+arm64/classic-level.node',
};

/**
 * Loads the addon from native/ beside the bundle. A missing or foreign one must not end the program while it is
 * being loaded, far from anybody who could explain it: the first use throws instead.
 */
const NATIVE_LOADER = `
  const fs = require('node:fs');
  const path = require('node:path');
  const musl = process.platform === 'linux' && fs.existsSync('/etc/alpine-release') ? '-musl' : '';
  const file = path.join(__dirname, 'native', 'classic-level-' + process.platform + '-' + process.arch + musl + '.node');
  try {
    process.dlopen(module, file);
  } catch (cause) {
    const refuse = () => {
      throw Object.assign(new Error('the native part of the level database cannot be loaded from ' + file), { code: 'NATIVE_BINDING', cause });
    };
    module.exports = new Proxy({}, { get: () => refuse });
  }`;

const nativeBeside = {
  name: 'native-beside',
  setup(bundler) {
    bundler.onLoad({ filter: /classic-level[\\/]binding\.js$/ }, () => ({ loader: 'js', contents: NATIVE_LOADER }));
  },
};

rmSync('dist', { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ['src/main.ts'],
  outfile: `dist/${app}.mjs`,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  conditions: ['@robustmq/source'],
  mainFields: ['module', 'main'],
  banner: { js: banner },
  define: { __filename: '__bundleFile', __dirname: '__bundleFolder', __ROBUSTMQ_VERSION__: JSON.stringify(version) },
  // Names and line breaks stay: a stack trace of the artefact can be read, and it is small enough.
  minifySyntax: true,
  sourcemap: 'external',
  legalComments: 'none',
  external: EXTERNAL,
  metafile: true,
  plugins: [nativeBeside],
  logLevel: 'warning',
});

const usesLevel = Object.keys(metafile.inputs).some((input) => input.includes('classic-level'));
if (usesLevel) copyNatives();
writeLauncher();
writeNotices();

function copyNatives() {
  const fromAdapter = createRequire(join(root, 'packages/storage-adapter/package.json'));
  const level = createRequire(fromAdapter.resolve('level'));
  const prebuilds = join(dirname(level.resolve('classic-level')), 'prebuilds');
  mkdirSync('dist/native', { recursive: true });
  for (const [platform, file] of Object.entries(PREBUILDS)) {
    const source = join(prebuilds, file);
    if (existsSync(source)) copyFileSync(source, `dist/native/classic-level-${platform}.node`);
  }
}

function writeLauncher() {
  mkdirSync('dist/bin', { recursive: true });
  const launcher = readFileSync(join(root, 'scripts/launcher.sh'), 'utf8').replaceAll('@APP@', app);
  writeFileSync(`dist/bin/${app}`, launcher);
  chmodSync(`dist/bin/${app}`, 0o755);
}

/** The licence text of every package that is inside the bundle: their licences ask for it. */
function writeNotices() {
  const folders = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (match?.[1]) folders.add(match[1]);
  }
  const notices = [...folders].map(noticeOf).sort();
  writeFileSync('dist/THIRD-PARTY-NOTICES.txt', notices.join(`\n${'-'.repeat(78)}\n\n`));
}

function noticeOf(folder) {
  const { name, version: packageVersion, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
  const text = file ? readFileSync(join(folder, file), 'utf8') : 'The package carries no licence file of its own.\n';
  return `${name} ${packageVersion} (${typeof license === 'string' ? license : license?.type})\n\n${text}`;
}
