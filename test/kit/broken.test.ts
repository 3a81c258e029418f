import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Source, SourceDefinition } from '../../core/api/index.ts';
import { guarded } from '../../core/guard/definition.ts';
import { within } from '../conformance/register.ts';
import { sourceCases } from '../conformance/source-suite.ts';
import { pluginContext, temporaryFolder } from '../support.ts';
import { BROKEN, type Broken, GOOD } from './broken.ts';
import { BROKEN_SINKS } from './broken-sinks.ts';

const root = join(import.meta.dirname, '../..');

/** `isthmus` in a folder with the plugin, in a process of its own, as a user runs it. */
async function runWith(module: string, ...flags: string[]) {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, 'broken.js'), `${GOOD}\n${module}`);
  const pipeline = `name: broken
plugins: [./broken.js]
source: { use: broken }
sink: { use: file, with: { path: ./out } }
retry: { attempts: 1 }
`;
  await writeFile(join(folder.path, 'p.yaml'), pipeline);
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(
    process.execPath,
    [...flags, join(root, 'config/main-cli.ts'), 'run', join(folder.path, 'p.yaml')],
    {
      env: { PATH, HOME },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  const [code] = (await once(child, 'close')) as [number];
  return { code, said };
}

/** The plugin alone, loaded in this process. `isthmus` is linked to the sources. */
async function loaded(module: string): Promise<SourceDefinition> {
  await using folder = await temporaryFolder();
  const api = join(folder.path, 'node_modules/isthmus');
  await mkdir(join(folder.path, 'node_modules'));
  await mkdir(api);
  await symlink(join(root, 'core/api'), join(api, 'api'));
  await writeFile(join(api, 'package.json'), '{"type":"module","exports":"./index.js"}');
  await writeFile(
    join(api, 'index.js'),
    `export * from ${JSON.stringify(pathToFileURL(join(root, 'core/api/index.ts')).href)};`,
  );
  await writeFile(join(folder.path, 'package.json'), '{"type":"module"}');
  const file = join(folder.path, 'broken.js');
  await writeFile(file, `${GOOD}\n${module}`);
  return ((await import(pathToFileURL(file).href)) as { broken: SourceDefinition }).broken;
}

const never = new AbortController().signal;
const HANGS = BROKEN.filter(({ wrong }) => /^hangs/.test(wrong));

/** Which cases of the suite the plugin fails. */
async function failing({ module, found }: Pick<Broken, 'module' | 'found'>): Promise<string | undefined> {
  const objects = new Map<string, Buffer>();
  Object.assign(globalThis, { brokenObjects: objects });
  const definition = await loaded(module);
  const cases = sourceCases(async (given) => {
    objects.clear();
    for (const [key, bytes] of Object.entries(given)) objects.set(key, bytes);
    return {
      source: definition.create({}, pluginContext({})),
      remove: async (key) => void objects.delete(key),
      replace: async (key, bytes) => void objects.set(key, bytes),
      [Symbol.asyncDispose]: async () => {},
    };
  });
  const run = cases[found ?? ''];
  if (run === undefined) throw new Error(`no such case: ${found}`);
  return within(run, 1000).then(
    () => undefined,
    (error: unknown) => String(error),
  );
}

describe('a broken plugin is named, and the rest goes on', () => {
  const told = BROKEN.filter(({ wrong, says }) => !/hangs|on import for/.test(wrong) && says.source !== 'complete');
  it.concurrent.each(told)('$wrong', async ({ module, says, code }) => {
    const answer = await runWith(module);
    expect(answer.said).toMatch(says);
    expect(answer.code).toBe(code);
    expect(answer.said).toMatch(/broken/);
  });

  it('waits on import for what never comes', { timeout: 60_000 }, async () => {
    const broken = BROKEN.find(({ wrong }) => /on import for/.test(wrong)) as Broken;
    const answer = await runWith(broken.module);
    expect(answer).toMatchObject({ code: 2, said: expect.stringMatching(broken.says) });
  });

  it('does not close what it opened: the command ends all the same', async () => {
    const module = `import { createServer } from 'node:net';
export const broken = define({ async open(item, options) { createServer().listen(0, '127.0.0.1'); return good.open(item, options); } });`;
    expect(await runWith(module)).toMatchObject({ code: 0, said: expect.stringContaining('2 written') });
  });

  it.each(HANGS)('$wrong', async ({ module, says }) => {
    const limits = { silenceMs: 50, graceMs: 50 };
    const source = guarded(await loaded(module), './broken.js', limits).create({}, pluginContext({})) as Source;
    const read = async (): Promise<void> => {
      for await (const item of source.list({ signal: never, run: {} as never }))
        for await (const _ of await source.open(item, { signal: never }));
    };
    await expect(read()).rejects.toThrow(says);
  });

  it('one that does not heed the signal is left behind', async () => {
    const limits = { silenceMs: 60_000, graceMs: 20 };
    const module = `export const broken = define({ open: () => new Promise(() => {}) });`;
    const source = guarded(await loaded(module), './broken.js', limits).create({}, pluginContext({})) as Source;
    const stop = new AbortController();
    const opened = source.open({ id: 'a', key: 'a', ref: null }, { signal: stop.signal });
    stop.abort();
    await expect(opened).rejects.toMatchObject({ code: 'stopped', message: expect.stringContaining('does not heed') });
  });

  it('one bad item of it does not stop the others', async () => {
    const module = `export const broken = define({ async open(item, options) { if (item.key === 'a') throw new Error('only a'); return good.open(item, options); } });`;
    const { code, said } = await runWith(module);
    expect(code).toBe(3);
    expect(said).toMatch(/1 written, 1 failed/);
    expect(said).toMatch(/plugin_failed: plugin "broken" \(\.\/broken\.js\): open a#.*: Error: only a/);
  });
});

describe('the suite finds each broken plugin', () => {
  it.each(BROKEN.filter(({ found }) => found !== undefined))('$wrong: $found', async (broken) => {
    expect(await failing(broken)).toBeDefined();
  });

  it('and none in the good one', async () => {
    for (const found of new Set(BROKEN.flatMap(({ found = [] }) => found)))
      expect(await failing({ module: 'export const broken = define({});', found }), found).toBeUndefined();
  });
});

describe('the table of docs/plugins.md', () => {
  it('has every broken plugin: what it is told, and which case of the suite finds it (UPDATE_BROKEN=1 writes it)', async () => {
    const page = join(root, 'docs/plugins.md');
    const text = await readFile(page, 'utf8');
    const when = { 0: 'nothing in a run that goes well', 1: 'the run', 2: 'before anything happens' } as const;
    const rows = BROKEN.map(
      ({ wrong, code, found }) => `| ${wrong} | ${when[code]} | ${found ?? 'nothing: it cannot be made'} |`,
    );
    const sinks = BROKEN_SINKS.map(
      ({ wrong, says, found }) => `| sink: ${wrong} | ${when[says === undefined ? 0 : 1]} | ${found} |`,
    );
    const table = [
      '| a plugin that | is told by | the case of the suite that finds it |',
      '|---|---|---|',
      ...rows,
      ...sinks,
    ].join('\n');
    const marked = /(<!-- made by test\/kit\/broken\.test\.ts -->\n)[\s\S]*?(<!-- end -->)/;
    const wanted = text.replace(marked, (_, begin: string, end: string) => `${begin}${table}\n${end}`);
    if (process.env.UPDATE_BROKEN !== undefined) await writeFile(page, wanted);
    else expect(text).toBe(wanted);
  });
});
