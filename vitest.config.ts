import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/compat/**'],
    testTimeout: 20_000,
    sequence: { shuffle: true },
  },
});
