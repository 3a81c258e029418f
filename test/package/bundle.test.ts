import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { unzipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { packaging } from '../../config/packaging.ts';
import { plugins } from '../../config/plugins.ts';
import { tokens } from '../../config/tokens.ts';
import { warningsFor } from '../../core/package/warnings.ts';
import { loadPipeline } from '../../core/pipeline/load.ts';
import { temporaryFolder } from '../support.ts';
import { packageInto } from './packaged.ts';
import { PIPELINES, VARIABLES } from './pipelines.ts';

const run = promisify(execFile);

const text = (path: string): Promise<string> => readFile(path, 'utf8');

/** The modules that the bundle was made of, by the maps of its files. */
async function sourcesOf(made: string, only?: readonly string[]): Promise<readonly string[]> {
  const maps = (await readdir(made)).filter((name) => name.endsWith('.mjs.map') && only?.includes(name) !== false);
  const parsed = await Promise.all(maps.map(async (name) => JSON.parse(await text(join(made, name)))));
  return parsed.flatMap(({ sources }: { sources: string[] }) => sources);
}

/** Those that are loaded before anything is asked for. */
async function loadedAtStart(made: string): Promise<readonly string[]> {
  const seen = new Set<string>();
  const walk = async (name: string): Promise<void> => {
    if (seen.has(name)) return;
    seen.add(name);
    const code = await text(join(made, name));
    for (const [, next = ''] of code.matchAll(/(?:from|^import|;import)"\.\/(chunk-\w+\.mjs)"/g)) await walk(next);
  };
  await walk('index.mjs');
  return sourcesOf(
    made,
    [...seen].map((name) => `${name}.map`),
  );
}

describe('a bundle', () => {
  it('holds the plugins that the pipeline uses, and neither the others nor a YAML parser', async () => {
    await using folder = await temporaryFolder();
    const { made, code } = await packageInto(folder.path, PIPELINES.plain ?? '');
    expect(code).toBe(0);
    const sources = await sourcesOf(made);
    const has = (part: string): boolean => sources.some((source) => source.includes(part));
    expect([has('plugins/gcs/'), has('plugins/s3/'), has('core/engine/')]).toEqual([true, true, true]);
    const unused = [
      'plugins/file/',
      'plugins/memory/',
      'node_modules/yaml/',
      'node_modules/inversify/',
      'core/cli/',
      'commander',
      'esbuild',
      'hono',
    ];
    expect(unused.filter(has)).toEqual([]);
    expect(sources.filter((source) => !/^(?:isthmus|node_modules)\//.test(source))).toEqual([]);
  });

  it('is smaller than 1.2 MB, and the zip holds it and the pipeline alone', async () => {
    await using folder = await temporaryFolder();
    const { made } = await packageInto(folder.path, PIPELINES.full ?? '');
    const modules = (await readdir(made)).filter((name) => name.endsWith('.mjs'));
    const code = await Promise.all(modules.map((name) => readFile(join(made, name))));
    expect(code.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(1_200_000);
    const zip = unzipSync(await readFile(join(made, 'function.zip')));
    expect(Object.keys(zip).sort()).toEqual([...modules, 'pipeline.yaml'].sort());
    for (const [index, name] of modules.entries()) expect(code[index]?.equals(Buffer.from(zip[name] ?? []))).toBe(true);
    expect(await text(join(made, 'pipeline.yaml'))).toBe(PIPELINES.full);
  });

  it('loads little at the start, and no SDK: what is rare lies in chunks', async () => {
    await using folder = await temporaryFolder();
    const { made, out } = await packageInto(folder.path, PIPELINES.plain ?? '', '--json');
    const { atStart, bytes } = JSON.parse(out) as { atStart: number; bytes: number };
    expect(atStart).toBeLessThan(480_000);
    expect(bytes).toBeGreaterThan(1.5 * atStart);
    const started = await loadedAtStart(made);
    expect(started.filter((source) => /@aws-sdk|@smithy|node:https|google-auth/.test(source))).toEqual([]);
    expect(started.some((source) => source.includes('core/transport/lane.ts'))).toBe(true);
  });

  it('leaves no chunk of an earlier one behind', async () => {
    await using folder = await temporaryFolder();
    const first = await packageInto(folder.path, PIPELINES.plain ?? '');
    await writeFile(join(first.made, 'chunk-00000000.mjs'), 'old');
    await packageInto(folder.path, PIPELINES.plain ?? '');
    expect(await readdir(first.made)).not.toContain('chunk-00000000.mjs');
  });

  it('is the same, byte for byte, wherever and whenever it is made', async () => {
    await using one = await temporaryFolder();
    await using two = await temporaryFolder();
    await mkdir(join(two.path, 'deeper'));
    const first = await packageInto(one.path, PIPELINES.plain ?? '');
    const second = await packageInto(join(two.path, 'deeper'), PIPELINES.plain ?? '');
    for (const name of ['function.zip', 'index.mjs', 'index.mjs.map', 'template.yaml'])
      expect((await readFile(join(first.made, name))).equals(await readFile(join(second.made, name)))).toBe(true);
  });

  it('names no place of the machine that it was made on', async () => {
    await using folder = await temporaryFolder();
    const { made } = await packageInto(folder.path, PIPELINES.plain ?? '');
    for (const name of ['index.mjs', 'index.mjs.map', 'template.yaml', 'terraform/main.tf']) {
      expect(await text(join(made, name))).not.toContain(folder.path);
      expect(await text(join(made, name))).not.toContain(packaging.root);
    }
  });

  it('holds a plugin of the user, from a file beside the pipeline', async () => {
    await using folder = await temporaryFolder();
    // It stays where its imports lead somewhere.
    const place = join(import.meta.dirname, 'fixtures');
    await using made = await temporaryFolder();
    const pipeline = `name: custom
plugins: [./my-source.ts]
source: { use: mine, with: { text: carried } }
sink: { use: file, with: { path: ${folder.path} } }
`;
    const file = join(place, `.custom-${process.pid}.yaml`);
    await writeFile(file, pipeline);
    try {
      const cli = compose(process.env).get(tokens.cli);
      const output = { out: () => {}, err: () => {}, terminal: undefined };
      expect(await cli(['package', file, '--target', 'container', '--out', made.path], output, '0')).toBe(0);
    } finally {
      await import('node:fs/promises').then(({ rm }) => rm(file));
    }
    const { stdout } = await run(process.execPath, [join(made.path, 'custom/index.mjs')]);
    expect(stdout).toContain('"outcome":"complete"');
    expect(await text(join(folder.path, 'a'))).toBe('carried');
  });

  it.each([
    ['./none.ts', 'no such file in the folder of the pipeline'],
    ['./../outside.ts', 'it is outside of the folder of the pipeline'],
    ['fs', 'is not installed: npm install fs'],
    ['@acme/isthmus-none', 'is not installed: npm install @acme/isthmus-none'],
    ['./empty.ts', 'it exports no plugin'],
    ['./broken.ts', 'cannot be loaded'],
    ['/etc/passwd', 'must be a file such as ./my-source.ts'],
    ['http://example.com/x.js', 'must be a file such as ./my-source.ts'],
  ])('refuses the plugin %s: %s', async (specifier, message) => {
    await using folder = await temporaryFolder();
    const inside = join(folder.path, 'pipelines');
    await mkdir(inside);
    await writeFile(join(folder.path, 'outside.ts'), 'export const a = 1;');
    await writeFile(join(inside, 'empty.ts'), 'export const a = 1;');
    await writeFile(join(inside, 'broken.ts'), 'throw new Error("no");');
    const file = join(inside, 'p.yaml');
    await writeFile(file, `${PIPELINES.plain}plugins: ["${specifier}"]\n`);
    await expect(loadPipeline(file, { plugins, environment: {} })).rejects.toThrow(message);
  });

  it.each([
    ['only `import`', { exports: { '.': { import: './index.mjs' } } }],
    ['a text', { exports: './index.mjs' }],
    ['conditions', { exports: { types: './x.d.ts', node: { import: './index.mjs' } } }],
    ['main', { main: 'index.mjs' }],
  ])('finds an installed package whose entry is %s', async (_, manifest) => {
    await using folder = await temporaryFolder();
    const place = join(folder.path, 'node_modules/@acme/isthmus-mine');
    await mkdir(place, { recursive: true });
    await writeFile(join(place, 'package.json'), JSON.stringify({ name: '@acme/isthmus-mine', ...manifest }));
    const definition =
      "{ kind: 'sink', contract: 1, name: 'mine', stability: 'beta', summary: 'Mine.', config: z.strictObject({}), create: () => ({}) }";
    const zod = pathToFileURL(join(packaging.root, 'node_modules/zod/index.js')).href;
    await writeFile(
      join(place, 'index.mjs'),
      `import { z } from ${JSON.stringify(zod)};\nexport const mine = ${definition};`,
    );
    const file = join(folder.path, 'p.yaml');
    await writeFile(
      file,
      'name: p\nplugins: ["@acme/isthmus-mine"]\nsource: { use: memory, with: { items: { a: "1" } } }\nsink: { use: mine }\n',
    );
    expect((await loadPipeline(file, { plugins, environment: {} })).sinks[0]?.plugin.name).toBe('mine');
  });

  it('has a module for every plugin there is, and each is that very plugin', async () => {
    const listed = plugins.map(({ kind, name }) => `${kind} ${name}`);
    expect(Object.keys(packaging.plugins).sort()).toEqual(listed.sort());
    for (const plugin of plugins) {
      const { module, exported } = packaging.plugins[`${plugin.kind} ${plugin.name}`] ?? { module: '', exported: '' };
      expect(((await import(module)) as Record<string, unknown>)[exported]).toBe(plugin);
    }
  });
});

describe('the files of a deployment', () => {
  it('are not overwritten once somebody has edited them: the new form is written beside them', async () => {
    await using folder = await temporaryFolder();
    const { made } = await packageInto(folder.path, PIPELINES.plain ?? '');
    const template = join(made, 'template.yaml');
    const mine = `${await text(template)}# mine\n`;
    await writeFile(template, mine);
    const changed = (PIPELINES.plain ?? '').replace('bucket: lake', 'bucket: other-lake');
    const { out, err } = await packageInto(folder.path, changed);
    expect(await text(template)).toBe(mine);
    expect(out).toContain('template.yaml.new');
    expect(err).toMatch(/template\.yaml was edited and is kept: it lacks what is new in .*template\.yaml\.new/);
    expect(await text(`${template}.new`)).toContain('other-lake');
    expect(await text(join(made, 'terraform/main.tf'))).toContain('other-lake');
  });
});

describe('warnings', () => {
  it.each([
    ['state', 'no `state` is set: a paused run lists from the start', ''],
    [
      'state that is gone',
      'state file ends with its process or machine',
      'state: { use: file, with: { path: state } }',
    ],
    ['memory that there is no room for', '8 MiB are used there', 'deploy: { memorySize: 128 }'],
  ])('tell of %s', async (_, message, more) => {
    await using folder = await temporaryFolder();
    const { err } = await packageInto(folder.path, `${PIPELINES.plain}${more}\n`);
    expect(err).toContain(message);
  });

  it('tell of another pipeline or target in the same folder, and of variables that are fixed', async () => {
    await using folder = await temporaryFolder();
    await packageInto(folder.path, PIPELINES.plain ?? '');
    const other = join(folder.path, 'other.yaml');
    await writeFile(other, PIPELINES.plain ?? '');
    const told = await run(process.execPath, [
      join(packaging.root, 'config/main-cli.ts'),
      ...['package', other, '--out', join(folder.path, 'dist'), '--target', 'container'],
    ]);
    expect(told.stderr).toContain('held the package of pipeline.yaml, a pipeline of the same name');
    expect(told.stderr).toContain('was packaged for lambda before');
    await using third = await temporaryFolder();
    expect((await packageInto(third.path, PIPELINES.full ?? '')).err).toContain(
      `are for PUSH_AUDIENCE=${VARIABLES.PUSH_AUDIENCE}, rights included`,
    );
  });

  it('are errors where the function would begin again for ever, and where nothing can be written', async () => {
    await using folder = await temporaryFolder();
    await expect(packageInto(folder.path, `${PIPELINES.plain}deploy: { continue: self }\n`)).rejects.toThrow(
      /deploy\.continue/,
    );
    const file = join(folder.path, 'pipeline.yaml');
    await writeFile(file, PIPELINES.plain ?? '');
    const cli = compose(process.env).get(tokens.cli);
    const output = { out: () => {}, err: () => {}, terminal: undefined };
    await expect(cli(['package', file, '--out', '/proc/none'], output, '0')).rejects.toMatchObject({
      code: 'invalid_config',
    });
  });

  it('tell of files, profiles and servers of this machine', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'p.yaml');
    await writeFile(
      file,
      `name: local
identities: { me: { kind: aws, profile: mine }, nobody: { kind: anonymous }, reader: { kind: gcp, audience: //iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers/isthmus } }
source:
  - { use: gcs, with: { bucket: abc, identity: nobody, endpoint: "http://127.0.0.1:4443" } }
  - { use: vertexai, with: { identity: reader, project: acme-ml, location: global, predict: { endpoint: "7", instances: { from: ./rows.jsonl } } } }
sink: [{ use: file, with: { path: out } }, { use: s3, with: { bucket: lake, region: eu-west-1, identity: me } }]
`,
    );
    const warnings = warningsFor('lambda', await loadPipeline(file, { plugins, environment: {} })).join('\n');
    for (const message of [
      'sink file: the files of this machine',
      'source vertexai: ./rows.jsonl is a file of this machine',
      'profile mine is of this machine',
      'http://127.0.0.1:4443 is this machine',
    ])
      expect(warnings).toContain(message);
  });
});

it('a container folder runs the pipeline from an empty folder, and says so with its exit code', async () => {
  await using folder = await temporaryFolder();
  await using target = await temporaryFolder();
  const pipeline = `name: tiny
source: { use: memory, with: { items: { a: "1", b: "22" } } }
sink: { use: file, with: { path: ${target.path} } }
`;
  const { made } = await packageInto(folder.path, pipeline, '--target', 'container');
  await using empty = await temporaryFolder();
  for (const name of await readdir(made)) if (name.endsWith('.mjs')) await cp(join(made, name), join(empty.path, name));
  const { stdout } = await run(process.execPath, ['index.mjs'], { cwd: empty.path, env: {} });
  const answer = stdout.trim().split('\n').at(-1) ?? '';
  expect(JSON.parse(answer)).toMatchObject({ outcome: 'complete', items: { written: 2 } });
  expect((await readdir(target.path)).sort()).toEqual(['a', 'b']);
  await expect(run(process.execPath, ['index.mjs', 'dance'], { cwd: empty.path, env: {} })).rejects.toMatchObject({
    code: 2,
  });
});
