import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { soak } from './soak.ts';

/** Longer, and with a seed of one's own: `npm run soak -- --seconds 3600 --seed 7`. */
const SECONDS = Number(process.env.SOAK_SECONDS ?? 60);
const seed = Number(process.env.SOAK_SEED ?? randomInt(2 ** 31));

describe('random faults at every boundary', () => {
  it(
    `lose nothing and leave nothing (${SECONDS} s, seed ${seed})`,
    async () => {
      const result = await soak({ seed, seconds: SECONDS, rounds: 3 });
      const { losses, rounds, runs, deaths, faults } = result;
      const injected = Object.values(faults).reduce((sum, count) => sum + count, 0);
      process.stdout.write(
        `soak: seed ${seed}, ${rounds} rounds, ${runs} runs, ${deaths} deaths, ${injected} faults ${JSON.stringify(faults)}\n`,
      );
      expect(losses).toEqual([]);
      expect(injected).toBeGreaterThan(rounds);
    },
    SECONDS * 1000 + 120_000,
  );
});
