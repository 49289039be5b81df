// Who may import whom (docs/ARCHITECTURE: the table of layers). Each rule says what a room must not know.

const inside = (name) => `^packages/${name}/src/`;
const production = { pathNot: '(\\.test\\.ts$|/testing/|/suite/|/test/|/bench/)' };

/** A package may import these of ours, and no others. */
const layer = (name, allowed, why) => ({
  name: `${name}-layer`,
  severity: 'error',
  comment: why,
  from: { path: inside(name), ...production },
  to: {
    path: '^(packages|apps)/',
    pathNot: [name, ...allowed].map((other) => (other.includes('/') ? `^packages/${other}` : inside(other))),
  },
});

/** A library stands behind one directory. */
const contained = (name, homes) => ({
  name: `${name}-contained`,
  severity: 'error',
  comment: `${name} is imported only where it is wrapped`,
  from: { path: '^(packages|apps)/[^/]+/src/', pathNot: ['\\.test\\.ts$', '/testing/', '/test/', ...homes] },
  to: { path: `node_modules/${name}/` },
});

const META_CLIENT = 'meta-raft/src/client/';

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      comment: 'a cycle has no order to read it in',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-apps',
      severity: 'error',
      comment: 'nobody imports an app',
      from: { pathNot: '^apps/' },
      to: { path: '^apps/' },
    },
    {
      name: 'apps-apart',
      severity: 'error',
      comment: 'apps share functions, not each other',
      from: { path: '^apps/([^/]+)/' },
      to: { path: '^apps/', pathNot: '^apps/$1/' },
    },
    {
      name: 'no-tests-in-production',
      severity: 'error',
      comment: 'tests import sources, never the other way',
      from: production,
      to: { path: '\\.test\\.ts$' },
    },
    {
      name: 'no-testing-in-production',
      severity: 'error',
      comment: 'test harnesses stay behind ./testing and ./suite',
      from: { path: '^(packages|apps)/', pathNot: '(\\.test\\.ts$|/testing/|/suite/|/test/)' },
      to: { path: '/(testing|suite)/' },
    },
    {
      name: 'doors-only',
      severity: 'error',
      comment: 'a package is entered by its doors',
      from: { path: '^(packages|apps)/([^/]+)/' },
      to: {
        path: '^packages/[^/]+/src/',
        pathNot: [
          '^packages/$2/',
          '^packages/stdx/src/[^/]+\\.ts$',
          '/src/index\\.ts$',
          '/src/(client|testing|suite|external)/index\\.ts$',
        ],
      },
    },
    layer('stdx', [], 'stdx knows no domain word'),
    layer('wal', ['stdx'], 'the log knows neither Raft nor the journal'),
    layer('storage-adapter', ['stdx'], 'the contract knows no replication, nodes or MQTT'),
    layer('meta-raft', ['stdx', 'wal'], 'the metadata service knows no storage and no MQTT'),
    layer('journal-engine', ['stdx', 'wal', 'storage-adapter', META_CLIENT], 'the journal knows no Raft and no MQTT'),
    layer(
      'mqtt-broker',
      ['stdx', 'storage-adapter', META_CLIENT],
      'the broker knows the contract of storage, not the journal',
    ),
    layer('node-runtime', ['stdx', 'wal', META_CLIENT], 'the runtime does not know what a service does'),
    {
      name: 'raft-core-pure',
      severity: 'error',
      comment: 'the core decides; the rim acts',
      from: { path: '^packages/meta-raft/src/core/', ...production },
      to: { pathNot: ['^packages/meta-raft/src/core/', '^packages/stdx/'] },
    },
    contained('aedes', ['^packages/mqtt-broker/src/aedes/']),
    contained('level', ['/level-[^/]+\\.ts$']),
    contained('memory-level', ['/level-[^/]+\\.ts$']),
    contained('@grpc/grpc-js', ['/(service|client|transport|gen)/', '/rpc-[^/]+\\.ts$', '^apps/', '/start-meta\\.ts$']),
    contained('ioredis', ['^packages/storage-adapter/src/redis/']),
    contained('pg', ['^packages/storage-adapter/src/postgres/']),
    contained('pino', ['^packages/node-runtime/src/logger\\.ts$']),
    contained('prom-client', ['^packages/node-runtime/src/metrics[^/]*\\.ts$']),
  ],
  options: {
    tsPreCompilationDeps: true,
    combinedDependencies: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|gen)/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@robustmq/source', 'import', 'types', 'default'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
};
