import { defineConfig } from 'vitest/config';

/** `npm run docs:check`: the site is built, every command of the pages is run, every link followed. */
export default defineConfig({
  test: { include: ['test/docs/**/*.test.ts'], testTimeout: 180_000, reporters: ['verbose'], maxConcurrency: 3 },
});
