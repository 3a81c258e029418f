import { describe, expect, it } from 'vitest';
import { isthmus, json } from '../faults/command.ts';
import { world } from '../faults/world.ts';

describe('verify', () => {
  it.each(['never', 'ifNewer'])(
    'tells what differs also where a run would leave it so: overwrite: %s',
    async (overwrite) => {
      await using w = await world();
      w.bucket.put('a', 'old bytes');
      w.bucket.put('b', 'the same');
      await w.carry();
      w.bucket.put('a', 'new bytes');
      const answer = await isthmus(w, 'verify', await w.write({ top: { overwrite } }), '--json');
      expect(answer.code).toBe(3);
      expect(json(answer)).toMatchObject({ counts: { same: 1, different: 1 }, findings: [{ key: 'a' }] });
    },
  );

  it('writes CSV that no spreadsheet takes for a formula, and no terminal for a command', async () => {
    await using w = await world();
    w.bucket.put('=HYPERLINK("http://x","y")', 'x');
    w.bucket.put('a\u001b[31m,b', 'x');
    const { out } = await isthmus(w, 'verify', await w.write(), '--csv');
    expect(out[0]).toBe('finding,key,sink,bytes,reason');
    expect(out.find((line) => line.includes('HYPERLINK'))).toMatch(/^missing,"'=HYPERLINK\(""http:\/\/x"",""y""\)",/);
    expect(out.join('')).not.toContain('\u001b');
  });

  it('counts what a filter leaves out: a filter that leaves out all is no proof of anything', async () => {
    await using w = await world();
    w.bucket.put('a.csv', 'x');
    const { out } = await isthmus(w, 'verify', await w.write({ top: { filter: { include: ['**.CSV'] } } }));
    expect(out).toEqual(['faults: 0 the same, 1 left out']);
  });

  it('does not look for what no source has where a key does not tell whose it is', async () => {
    await using w = await world();
    w.bucket.put('d/a', 'x');
    const top = { key: { template: '{name}' } };
    await w.carry({ top });
    const { error } = await isthmus(w, 'verify', await w.write({ top }), '--extras');
    expect(error).toMatchObject({ code: 'invalid_config', message: expect.stringContaining('not one to one') });
  });
});
