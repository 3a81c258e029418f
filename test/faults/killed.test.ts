import { randomBytes, randomInt } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runProcess } from './killed.ts';
import { chance } from './soak.ts';
import { oracle } from './soak-oracle.ts';
import { LASTING, world } from './world.ts';

const MIB = 2 ** 20;
/** Of a failure: put it in here, and it dies at the same requests again. */
const seed = Number(process.env.SOAK_SEED ?? randomInt(2 ** 31));

describe(`a process that is killed again and again (seed ${seed})`, () => {
  it.each([
    ['its state in S3', LASTING],
    ['its state in a folder', { state: { use: 'file', with: { path: 'state' } } }],
  ])(
    'loses nothing and leaves nothing, with %s',
    async (name, state) => {
      await using w = await world();
      for (let n = 0; n < 12; n++) w.bucket.put(`small-${n}`, randomBytes(20_000));
      for (let n = 0; n < 3; n++) w.bucket.put(`large-${n}`, randomBytes(11 * MIB));
      const file = await w.write({ top: { ...state, concurrency: 4 } });
      for (let kill = 0; kill < 6; kill++) {
        const at = 1 + Math.floor(chance(seed, name, kill) * 45);
        let requests = 0;
        const { code, out, err } = await runProcess(w, ['run', file, '--json'], () => ++requests >= at);
        if (code !== null) expect([code, out, err]).toEqual([0, expect.any(String), '']);
        // Whatever is there is whole: a reader never sees half of an object.
        for (const [key, object] of w.lake.objects) expect(object.checksums.crc32c).toBe(w.bucket.get(key)?.crc32c);
      }
      const { code, out, err } = await runProcess(w, ['run', file, '--json']);
      expect([code, err]).toEqual([0, '']);
      expect(JSON.parse(out)).toMatchObject({ outcome: 'complete' });
      expect(await oracle(w, true)).toEqual([]);
    },
    60_000,
  );

  it('while it applies a plan, can apply it again', async () => {
    await using w = await world();
    for (let n = 0; n < 12; n++) w.bucket.put(`small-${n}`, randomBytes(20_000));
    w.bucket.put('large', randomBytes(11 * MIB));
    const file = await w.write({ top: LASTING });
    const plan = join(w.folder, 'plan.jsonl');
    expect(await runProcess(w, ['plan', file, '--out', plan])).toMatchObject({ code: 0 });
    for (let kill = 0; kill < 4; kill++) {
      const at = 1 + Math.floor(chance(seed, 'apply', kill) * 50);
      let requests = 0;
      await runProcess(w, ['apply', plan, '--json'], () => ++requests >= at);
    }
    const { out } = await runProcess(w, ['apply', plan, '--json']);
    expect(JSON.parse(out)).toMatchObject({ outcome: 'complete', items: { refused: 0, failed: 0 } });
    expect(await oracle(w, true)).toEqual([]);
  }, 60_000);
});
