import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/compat/**', 'test/docs/**'],
    globalSetup: ['test/leak-report.ts'],
    setupFiles: ['test/leak-setup.ts'],
    testTimeout: 20_000,
    sequence: { shuffle: true },
    // Many tests wait for processes and for faults: two at once are faster on two cores, too.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
