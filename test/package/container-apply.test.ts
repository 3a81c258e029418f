import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { temporaryFolder } from '../support.ts';
import { packageInto } from './packaged.ts';

const run = promisify(execFile);

async function planned() {
  const folder = await temporaryFolder();
  const [from, to] = [join(folder.path, 'from'), join(folder.path, 'to')];
  await mkdir(from);
  await mkdir(to);
  for (const name of ['a', 'b', 'c', 'd', 'e']) await writeFile(join(from, name), name);
  const pipeline = `name: parts\nsource: { use: file, with: { path: ${from} } }\nsink: { use: file, with: { path: ${to} } }\n`;
  const { made } = await packageInto(folder.path, pipeline, '--target', 'container');
  const plan = join(folder.path, 'plan.jsonl');
  const silent = { out: () => {}, err: () => {}, terminal: undefined };
  const cli = compose(process.env).get(tokens.cli);
  expect(await cli(['plan', join(folder.path, 'pipeline.yaml'), '--out', plan], silent, '0')).toBe(0);
  const apply = (args: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
    run(process.execPath, [join(made, 'index.mjs'), 'apply', ...args], { env: { PATH: '/usr/bin', ...environment } });
  return { plan, to, apply, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe('the container of a packaged pipeline', () => {
  it('carries its part of a plan, as the pods of an indexed job do, and says which it was', async () => {
    await using made = await planned();
    const { stdout } = await made.apply([made.plan, '--shard', '0/2']);
    expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
      outcome: 'complete',
      part: { index: 0, of: 2 },
      message: expect.stringContaining('parts, part 0 of 2: complete: 3 written'),
    });
    await made.apply([made.plan, '--shard', '2'], { JOB_COMPLETION_INDEX: '1' });
    expect((await readdir(made.to)).sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('does not guess: without a plan, or without the number of parts, it ends as invalid', async () => {
    await using made = await planned();
    await expect(made.apply([])).rejects.toMatchObject({ code: 2 });
    await expect(made.apply([made.plan], { JOB_COMPLETION_INDEX: '1' })).rejects.toMatchObject({ code: 2 });
    expect(await readdir(made.to)).toEqual([]);
  });
});
