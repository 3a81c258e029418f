import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/compat/**'],
    globalSetup: ['test/leak-report.ts'],
    setupFiles: ['test/leak-setup.ts'],
    testTimeout: 20_000,
    sequence: { shuffle: true },
  },
});
