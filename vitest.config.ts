import { defineConfig } from 'vitest/config';

// Tests start real processes, interfaces and namespaces on as few as two cores: generous limits, few files at once.
export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'tests/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    pool: 'forks',
    reporters: ['default'],
  },
});
