// One jest configuration for the whole workspace; each package re-exports it.
// Tests run the TypeScript sources of every package through the `@robustmq/source` export condition,
// so that no test waits for a build.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/{src,test}/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      require.resolve('@swc/jest'),
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
        sourceMaps: 'inline',
        swcrc: false,
      },
    ],
  },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  testEnvironmentOptions: { customExportConditions: ['@robustmq/source', 'node', 'node-addons'] },
  coverageProvider: 'v8',
  collectCoverageFrom: ['src/**/*.ts', '!src/gen/**', '!src/**/*.test.ts'],
  maxWorkers: 2,
  // Long enough for a machine that is busy with something else: tests are about what holds, not about how fast.
  testTimeout: 120_000,
};
