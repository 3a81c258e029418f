import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { pipelineText } from '../../core/cli/init-pipeline.ts';
import { temporaryFolder } from '../support.ts';

const root = join(import.meta.dirname, '../..');

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The command in a folder, as a user runs it. */
const isthmus = (cwd: string, ...args: string[]): Promise<Ran> => isthmusWith({}, cwd, ...args);

async function isthmusWith(more: Readonly<Record<string, string>>, cwd: string, ...args: string[]): Promise<Ran> {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(process.execPath, [join(root, 'config/main-cli.ts'), ...args], {
    cwd,
    env: { PATH, HOME, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stderr.on('data', (chunk) => {
    err += String(chunk);
  });
  const [code] = (await once(child, 'close')) as [number];
  return { code, out, err };
}

const folder = temporaryFolder;
const text = (...path: string[]): Promise<string> => readFile(join(...path), 'utf8');

describe('isthmus init', () => {
  it.each([
    ['gs://acme-exports/2026/', 's3://acme-lake/raw/', ['--region', 'eu-west-1']],
    ['gs://acme-exports', 's3://acme-lake', ['--state', 's3://acme-state/isthmus/']],
    ['s3://acme-lake/raw/', 'gs://acme-back/', ['--service-account', 'w@acme-data.iam.gserviceaccount.com']],
    ['bq://acme-data.sales.orders', 's3://acme-lake/', ['--staging', 'acme-staging']],
    ['https://example.com/data.csv', './out', []],
    ['./in', 's3://acme-lake/', []],
    [
      'gs://acme-exports/',
      's3://acme-lake/',
      ['--project-number', '123456789012', '--account', '012345678901', '--role', 'exports', '--name', 'yes'],
    ],
  ])('writes a pipeline from %s to %s that is valid, with its schema for editors', async (from, to, more) => {
    await using place = await folder();
    const made = await isthmus(place.path, 'init', 'p.yaml', '--from', from, '--to', to, ...more);
    expect(made, made.err).toMatchObject({ code: 0 });
    const file = await text(place.path, 'p.yaml');
    expect(file).toMatch(/^# yaml-language-server: \$schema=\.\/pipeline\.schema\.json\n/);
    expect(JSON.parse(await text(place.path, 'pipeline.schema.json'))).toMatchObject({ title: 'Isthmus pipeline' });
    expect(await isthmus(place.path, 'validate', 'p.yaml')).toMatchObject({ code: 0, err: '' });
    // What is in comments is meant to be used: without the sign before them they are options, too.
    const used = file.replaceAll(/^# (filter|through|concurrency|memory|deploy): (.*?)(?:\s+#.*)?$/gm, '$1: $2');
    await writeFile(join(place.path, 'all.yaml'), used);
    expect((await isthmus(place.path, 'validate', 'all.yaml')).err).toBe('');
  });

  it('names the schema of the installed package where there is one', async () => {
    await using place = await folder();
    await mkdir(join(place.path, 'node_modules/isthmus/dist/config'), { recursive: true });
    await mkdir(join(place.path, 'pipelines'));
    await writeFile(join(place.path, 'node_modules/isthmus/dist/config/pipeline.schema.json'), '{}');
    await isthmus(join(place.path, 'pipelines'), 'init', '--from', './in', '--to', './out');
    const [first] = (await text(place.path, 'pipelines/pipeline.yaml')).split('\n');
    expect(first).toBe('# yaml-language-server: $schema=../node_modules/isthmus/dist/config/pipeline.schema.json');
    expect(await readdir(join(place.path, 'pipelines'))).toEqual(['pipeline.yaml']);
  });

  it.each([
    [['--from', 'gs://a-b'], '--to is needed where nobody can be asked'],
    [['--from', 'ftp://x/y', '--to', './out'], '--from: "ftp://x/y" is none of gs://'],
    [['--from', './in', '--to', 'https://x.example/y'], '--to: "https://x.example/y" is none of'],
    [
      ['--from', './in', '--to', './out', '--name', 'No Name'],
      'the name of the pipeline: "No Name" is not of the form',
    ],
    [['--from', 'gs://acme-b', '--to', './out', '--account', '12'], '--account: "12" is not of the form'],
    [['--from', 'gs://acme-b', '--to', './out', '--pool', 'a'], '--pool: "a" is not of the form'],
  ])('refuses %j by the name of the flag, and writes nothing', async (args, message) => {
    await using place = await folder();
    const made = await isthmus(place.path, 'init', 'p.yaml', ...args);
    expect(made.code).toBe(2);
    expect(made.err).toContain(message);
    expect((await readdir(place.path)).includes('p.yaml')).toBe(false);
  });

  it.each([
    ['s3://b/y', '"b" is no name of a bucket'],
    ['gs://Acme_X/x', '"Acme_X" is no name of a bucket'],
    ['gcs://acme-exports/', 'did you mean gs://acme-exports/?'],
    ['ftp://host/x', 'is none of gs://'],
  ])('says what is wrong with %s', async (from, message) => {
    await using place = await folder();
    const answer = await isthmus(place.path, 'init', '--from', from, '--to', './out');
    expect(answer).toMatchObject({ code: 2, err: expect.stringContaining(message) });
  });

  it('replaces no file unless it is told to', async () => {
    await using place = await folder();
    await writeFile(join(place.path, 'p.yaml'), 'mine');
    const args = ['init', 'p.yaml', '--from', './in', '--to', './out'];
    expect(await isthmus(place.path, ...args)).toMatchObject({
      code: 2,
      err: expect.stringContaining('is there already'),
    });
    expect(await text(place.path, 'p.yaml')).toBe('mine');
    expect((await isthmus(place.path, ...args, '--force')).code).toBe(0);
  });

  it('quotes what YAML would read as something else', () => {
    const file = { use: 'file', path: './a: b #c' } as const;
    const nothing = { region: undefined, provider: undefined, serviceAccount: undefined, expect: undefined } as const;
    const rest = { staging: undefined, state: undefined, schema: './s.json', changes: [] };
    expect(pipelineText({ name: 'yes', from: file, to: file, ...nothing, ...rest })).toContain('path: "./a: b #c"');
  });
});

describe('isthmus test', () => {
  async function project(pipeline: string, files: Readonly<Record<string, string>> = {}) {
    const place = await folder();
    await writeFile(join(place.path, 'p.yaml'), pipeline);
    for (const [name, content] of Object.entries(files)) {
      await mkdir(join(place.path, name, '..'), { recursive: true });
      await writeFile(join(place.path, name), content);
    }
    return place;
  }
  const KEYLESS = `name: p
identities:
  google:
    kind: gcp
    audience: //iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/their-pool/providers/theirs
    serviceAccount: reader@their-project.iam.gserviceaccount.com
    expect: { awsAccountId: "012345678901", roleName: their-role }
source: { use: gcs, with: { bucket: their-bucket, prefix: in/, identity: google } }
`;

  it('runs the keyless chain and the copy offline, with the identities that the pipeline names', async () => {
    await using place = await project(
      `${KEYLESS}sink: { use: s3, with: { bucket: their-lake, prefix: out/, region: us-east-2 } }
through: [{ use: gzip }]
state: { use: s3, with: { bucket: their-state, region: us-east-2 } }
receipts: { use: s3, with: { bucket: their-state, prefix: receipts/, region: us-east-2 } }
`,
      { 'p.test/source/a/b.csv': 'x,y\n1,2\n', 'p.test/sink/old.txt': 'was there' },
    );
    expect(await isthmus(place.path, 'test', 'p.yaml')).toMatchObject({
      code: 2,
      err: expect.stringContaining('--update writes it'),
    });
    expect(await isthmus(place.path, 'test', 'p.yaml', '--update')).toMatchObject({
      code: 0,
      out: 'p.yaml: updated, 1 written\n',
    });
    const expected = JSON.parse(await text(place.path, 'p.test/expected.json')) as { stored: { key: string }[] };
    expect(expected).toMatchObject({
      outcome: 'complete',
      receipts: [{ key: 'a/b.csv.gz', from: 'a/b.csv', outcome: 'written', made: 'gzip' }],
      writesAgain: 0,
    });
    expect(expected.stored.map(({ key }) => key)).toEqual(['a/b.csv.gz', 'old.txt']);
    expect(await isthmus(place.path, 'test', 'p.yaml')).toMatchObject({
      code: 0,
      out: 'p.yaml: passed, 1 written\n',
      err: '',
    });
  });

  it('fails with what differs when the pipeline does something else', async () => {
    const sink = 'sink: { use: s3, with: { bucket: their-lake, region: eu-west-1 } }\n';
    await using place = await project(`${KEYLESS}${sink}`, { 'p.test/source/a': 'one', 'p.test/source/b': 'two' });
    await isthmus(place.path, 'test', 'p.yaml', '--update');
    await writeFile(join(place.path, 'p.yaml'), `${KEYLESS}${sink}filter: { exclude: [b] }\n`);
    const failed = await isthmus(place.path, 'test', 'p.yaml');
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('receipt b (sink 0): outcome is "skipped", expected "written"');
    expect(failed.err).toContain('stored s3://their-lake/b: expected, and not there');
    const json = await isthmus(place.path, 'test', 'p.yaml', '--json');
    expect(JSON.parse(json.out)).toMatchObject([{ file: 'p.yaml', passed: false }]);
  });

  it('touches no file of the machine that the pipeline names: folders are those of the test', async () => {
    await using place = await project(
      'name: p\nsource: { use: file, with: { path: ./in } }\nsink: { use: file, with: { path: ./out } }\n',
      { 'in/real': 'of the machine', 'p.test/source/fixture': 'of the test' },
    );
    expect((await isthmus(place.path, 'test', 'p.yaml', '--update')).code).toBe(0);
    expect(await text(place.path, 'p.test/expected.json')).toContain('"fixture"');
    expect(await readdir(place.path)).not.toContain('out');
  });

  it('asks no server that the pipeline names, and fills a sink that is a folder', async () => {
    await using place = await project(
      'name: p\nsource: { use: s3, with: { bucket: theirs, region: eu-west-1, endpoint: "http://127.0.0.1:9" } }\nsink: { use: file, with: { path: ./out } }\n',
      { 'p.test/source/a': 'same', 'p.test/sink/a': 'same', 'p.test/sink/b': 'was there' },
    );
    expect(await isthmus(place.path, 'test', 'p.yaml', '--update')).toMatchObject({
      code: 0,
      out: 'p.yaml: updated, 0 written, 1 unchanged\n',
    });
    const expected = JSON.parse(await text(place.path, 'p.test/expected.json')) as { stored: { key: string }[] };
    expect(expected.stored.map(({ key }) => key)).toEqual(['a', 'b']);
  });

  it('is the same on every day: fixtures, and names with dates, have a fixed one', async () => {
    await using place = await project(
      'name: p\nsource: { use: file, with: { path: ./in } }\nsink: { use: file, with: { path: ./out } }\nkey: { template: "{date}/{key}" }\n',
      { 'p.test/source/a': 'x' },
    );
    await isthmus(place.path, 'test', 'p.yaml', '--update');
    expect(await text(place.path, 'p.test/expected.json')).toContain('"key": "2026-01-01/a"');
  });

  it('lets filters look at ages, on every day the same', async () => {
    await using place = await project(
      'name: p\nsource: { use: file, with: { path: ./in } }\nsink: { use: file, with: { path: ./out } }\nfilter: { minAge: 1h, maxAge: 168h }\ncompare: modified\n',
      { 'p.test/source/a': 'x' },
    );
    expect((await isthmus(place.path, 'test', 'p.yaml', '--update')).out).toBe('p.yaml: updated, 1 written\n');
  });

  it('has the keys that a step encrypts with, and expects of its bytes only how many they are', async () => {
    const arn = 'arn:aws:kms:eu-west-1:111122223333:key/0d5d6f1e-0000-4000-8000-000000000001';
    await using place = await project(
      `${KEYLESS}sink: { use: s3, with: { bucket: their-lake, region: eu-west-1 } }\nthrough: [{ use: gzip }, { use: encrypt, with: { kmsKeyArn: "${arn}" } }]\n`,
      { 'p.test/source/a': 'x' },
    );
    expect((await isthmus(place.path, 'test', 'p.yaml', '--update')).out).toBe('p.yaml: updated, 1 written\n');
    expect(await isthmus(place.path, 'test', 'p.yaml')).toMatchObject({ code: 0, out: 'p.yaml: passed, 1 written\n' });
  });

  it('tells two folders apart', async () => {
    await using place = await project(
      'name: p\nsource: { use: file, with: { path: ./in } }\nsink: [{ use: file, with: { path: ./one } }, { use: file, with: { path: ./two } }]\n',
      { 'p.test/source/a': 'x' },
    );
    await isthmus(place.path, 'test', 'p.yaml', '--update');
    const expected = join(place.path, 'p.test/expected.json');
    const first = await text(expected);
    await writeFile(expected, first.replace(/("place": "file.0",\s+"key": "a",\s+"size": )1/, '$17'));
    expect((await isthmus(place.path, 'test', 'p.yaml')).err).toContain('stored file.0a: size is 1, expected 7');
  });

  it('says which file of a URL is missing, and that a failure is what is kept', async () => {
    const served =
      'name: p\nsource: { use: http, with: { urls: ["https://example.com/a/b.csv"] } }\nsink: { use: file, with: { path: ./out } }\ncompare: modified\n';
    await using place = await project(served, { 'p.test/source/b.csv': 'x' });
    const missing = await isthmus(place.path, 'test', 'p.yaml', '--update');
    expect(missing.err).toContain('source/a/b.csv does not exist: it is what example.com serves as a/b.csv');
    await using good = await project(served, { 'p.test/source/a/b.csv': 'x' });
    await isthmus(good.path, 'test', 'p.yaml', '--update');
    expect(await text(good.path, 'p.test/expected.json')).toContain('"writesAgain": 0');
    await using failing = await project(
      served.replace('compare', 'through: [{ use: gunzip }]\ncompare').replace('b.csv', 'b.gz'),
      {
        'p.test/source/a/b.gz': 'not gzip',
      },
    );
    expect((await isthmus(failing.path, 'test', 'p.yaml', '--update')).err).toContain(
      'note: a run that ends failed is what is expected from now on',
    );
  });

  it('uses no profile, credentials or proxy of whoever runs it', async () => {
    await using place = await project(
      `${KEYLESS}sink: { use: s3, with: { bucket: their-lake, region: eu-west-1 } }\n`,
      {
        'p.test/source/a': 'x',
        config: '[profile p]\ncredential_process = false\n',
      },
    );
    const mine = { AWS_PROFILE: 'p', AWS_CONFIG_FILE: join(place.path, 'config'), HTTPS_PROXY: 'http://127.0.0.1:9' };
    const answer = await isthmusWith(mine, place.path, 'test', 'p.yaml', '--update');
    expect(answer, answer.err).toMatchObject({ code: 0, out: 'p.yaml: updated, 1 written\n' });
  });

  it('goes on with the next pipeline where one cannot be tested', async () => {
    const sink = 'sink: { use: s3, with: { bucket: their-lake, region: eu-west-1 } }\n';
    await using place = await project(`${KEYLESS}${sink}`, {
      'q.yaml': `${KEYLESS}${sink}`,
      'q.test/source/a': 'x',
    });
    await isthmus(place.path, 'test', 'q.yaml', '--update');
    expect(await isthmus(place.path, 'test', 'p.yaml', 'q.yaml')).toMatchObject({
      code: 2,
      out: 'p.yaml: FAILED\nq.yaml: passed, 1 written\n',
      err: expect.stringContaining('p.test does not exist'),
    });
  });

  it('serves what a list of URLs names, and tables of BigQuery', async () => {
    await using place = await project(
      'name: p\nsource: { use: http, with: { urls: ["https://example.com/a/b.csv"] } }\nsink: { use: s3, with: { bucket: their-lake, region: eu-west-1 } }\n',
      { 'p.test/source/a/b.csv': 'over http' },
    );
    expect((await isthmus(place.path, 'test', 'p.yaml', '--update')).code).toBe(0);
    expect(await text(place.path, 'p.test/expected.json')).toContain('"key": "a/b.csv"');
    const table = { fields: [{ name: 'id', type: 'INTEGER' }], rows: [{ id: '1' }, { id: '2' }] };
    await using other = await project(
      `${KEYLESS.replace(/source: .*/, 'source: { use: bigquery, with: { project: their-project, table: sales.orders, format: json, identity: google, staging: { bucket: their-staging } } }')}sink: { use: s3, with: { bucket: their-lake, region: eu-west-1 } }
`,
      { 'p.test/cloud.json': JSON.stringify({ bigquery: { tables: { 'their-project.sales.orders': table } } }) },
    );
    const made = await isthmus(other.path, 'test', 'p.yaml', '--update');
    expect(made, made.err).toMatchObject({ code: 0 });
    expect(await text(other.path, 'p.test/expected.json')).toMatch(/"outcome": "complete"/);
  });

  it.each([
    [{}, 'p.test does not exist'],
    [{ 'p.test/sorce/a': 'x' }, 'p.test holds sorce, which means nothing there'],
    [{ 'p.test/sink/a': 'x' }, 'p.test/source does not exist: it is what the source holds'],
    [{ 'p.test/source/a': 'x', 'p.test/cloud.json': '{' }, 'cloud.json: it is not JSON'],
    [{ 'p.test/source/a': 'x', 'p.test/cloud.json': '{"bigqery":{}}' }, 'cloud.json: '],
    [{ 'p.test/source/a': 'x', 'p.test/expected.json': '[' }, 'expected.json is not what isthmus test has written'],
  ])('says what is wrong with a test: %j', async (files, message) => {
    const pipeline = `${KEYLESS}sink: { use: s3, with: { bucket: their-lake, region: eu-west-1 } }\n`;
    await using place = await project(pipeline, files);
    expect(await isthmus(place.path, 'test', 'p.yaml')).toMatchObject({
      code: 2,
      err: expect.stringContaining(message),
    });
  });
});

describe('isthmus completion', () => {
  it.each(['bash', 'zsh', 'fish', 'powershell'])('prints a script for %s', async (shell) => {
    await using place = await folder();
    const { code, out } = await isthmus(place.path, 'completion', shell);
    expect(code).toBe(0);
    expect(out).toContain('isthmus');
    if (shell === 'bash') expect(spawnSync('bash', ['-n'], { input: out }).status).toBe(0);
  });

  it('completes commands, options, choices and pipeline files', async () => {
    await using place = await folder();
    await writeFile(join(place.path, 'mine.yaml'), '');
    await writeFile(join(place.path, 'other.txt'), '');
    const words = async (...typed: string[]): Promise<string[]> =>
      (await isthmus(place.path, 'complete', '--', ...typed)).out.split('\n').map((line) => line.split('\t')[0] ?? '');
    expect(await words('pl')).toEqual(expect.arrayContaining(['plan', 'plugins', 'plugin']));
    expect(await words('run', '')).toContain('mine.yaml');
    expect(await words('run', '')).not.toContain('other.txt');
    expect(await words('run', '--re')).toContain('--reset-state');
    expect(await words('package', '--target', '')).toEqual(expect.arrayContaining(['lambda', 'container']));
  });
});

describe('isthmus plugins and schema', () => {
  const module = `import { defineSource, z } from 'isthmus';
export const days = defineSource({ name: 'days', summary: 'One file a day.', stability: 'experimental',
  config: z.strictObject({ count: z.number().int().describe('How many days.') }),
  create: () => ({ location: 'days:', async *list() {}, open: async () => [] }) });`;

  it('show what a pipeline brings along, whatever else is wrong with it', async () => {
    await using place = await folder();
    await writeFile(join(place.path, 'days.js'), module);
    await writeFile(join(place.path, 'p.yaml'), 'name: p\nplugins: [./days.js]\n');
    const list = await isthmus(place.path, 'plugins', '--pipeline', 'p.yaml');
    expect(list.out).toMatch(/source +days +experimental +\.\/days\.js +One file a day\./);
    const one = await isthmus(place.path, 'plugins', 'days', '--pipeline', 'p.yaml', '--json');
    expect(JSON.parse(one.out)).toMatchObject([
      { name: 'days', contract: 1, from: './days.js', options: [{ name: 'count' }] },
    ]);
    const schema = JSON.parse((await isthmus(place.path, 'schema', 'p.yaml')).out) as object;
    expect(JSON.stringify(schema)).toContain('How many days.');
    expect(JSON.stringify(JSON.parse((await isthmus(place.path, 'schema')).out))).not.toContain('How many days.');
  });
});

describe('a plugin with the name of another', () => {
  it.each([
    ['gcs', 'days.js: a source "gcs" is built in: give it another name'],
    ['days', 'more.js: a source "days" comes from ./days.js: give it another name'],
  ])('is refused, since one of both would be left alone without a word: %s', async (name, message) => {
    await using place = await folder();
    const module = `import { defineSource, z } from 'isthmus';
export default defineSource({ name: '${name}', summary: 's', config: z.strictObject({}),
  create: () => ({ location: 'x:', async *list() {}, open: async () => [] }) });`;
    for (const file of ['days.js', 'more.js']) await writeFile(join(place.path, file), module);
    const rest = 'source: { use: days }\nsink: { use: file, with: { path: ./out } }\n';
    const plugins = name === 'gcs' ? '[./days.js]' : '[./days.js, ./more.js]';
    await writeFile(join(place.path, 'p.yaml'), `name: p\nplugins: ${plugins}\n${rest}`);
    expect(await isthmus(place.path, 'validate', 'p.yaml')).toMatchObject({
      code: 2,
      err: expect.stringContaining(message),
    });
  });
});

describe('a sink that lists and cannot be asked for one object', () => {
  it('is refused where names come in another order than its listing', async () => {
    await using place = await folder();
    await writeFile(
      join(place.path, 'lists.js'),
      `import { defineSink, z } from 'isthmus';
export default defineSink({ name: 'lists', summary: 's', config: z.strictObject({}),
  create: () => ({ location: 'x:', async *list() {}, write: async () => ({ location: 'x:a', size: 1 }) }) });`,
    );
    const pipeline = 'name: p\nplugins: [./lists.js]\nsource: { use: file, with: { path: . } }\nsink: { use: lists }\n';
    for (const [more, code] of [
      ['', 0],
      ['key: { template: "in/{key}" }\n', 0],
      ['key: { template: "{date}/{key}" }\n', 2],
      ['through: [{ use: gzip }]\n', 2],
    ] as const) {
      await writeFile(join(place.path, 'p.yaml'), pipeline + more);
      const answer = await isthmus(place.path, 'plan', 'p.yaml');
      expect(answer.code, more + answer.err).toBe(code);
      if (code === 2) expect(answer.err).toContain('this sink cannot be asked for one by itself: x:');
    }
  });
});

describe('isthmus plugin new', () => {
  it.each(['source', 'sink'] as const)('writes a package with a %s', async (kind) => {
    await using place = await folder();
    const { code, out, err } = await isthmus(
      place.path,
      'plugin',
      'new',
      'my-store',
      '--kind',
      kind,
      '--package',
      '@acme/isthmus-mine',
    );
    expect(code, err).toBe(0);
    expect(out).toContain('npm install && npm test');
    const made = join(place.path, 'isthmus-mine');
    const files = (await readdir(made, { recursive: true, withFileTypes: true })).filter((file) => file.isFile());
    for (const file of files) expect(await text(file.parentPath, file.name)).not.toMatch(/__[A-Z]+__/);
    expect(files.map(({ name }) => name).sort()).toEqual(
      [
        '.gitignore',
        'README.md',
        'ci.yml',
        'index.ts',
        'package.json',
        'pipeline.example.yaml',
        `${kind}.test.ts`,
        'store.ts',
        'tsconfig.build.json',
        'tsconfig.json',
      ].sort(),
    );
    expect(JSON.parse(await text(made, 'package.json'))).toMatchObject({ name: '@acme/isthmus-mine' });
    // The smallest honest test of a plugin.
    expect((await text(made, `test/${kind}.test.ts`)).trim().split('\n').length).toBeLessThan(15);
    if (kind === 'sink') return;
    // It loads, and its pipeline is valid, with nothing installed.
    expect(await isthmus(made, 'validate', 'pipeline.example.yaml')).toMatchObject({ code: 0 });
    await rm(made, { recursive: true });
  });

  it.each([
    [['My Store', '--kind', 'source'], 'is no name for a plugin'],
    [['store', '--kind', 'source', '--package', '../up'], 'is no name for a package'],
    [['store'], "required option '--kind <kind>' not specified"],
    [['store', '--kind', 'state'], 'Allowed choices are source, sink'],
    [['store', '--kind', 'source', '--out', '.'], 'is not empty'],
  ])('refuses %j: %s', async (args, message) => {
    await using place = await folder();
    await writeFile(join(place.path, 'there'), '');
    expect(await isthmus(place.path, 'plugin', 'new', ...args)).toMatchObject({
      code: 2,
      err: expect.stringContaining(message),
    });
  });
});
