import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { sessionFor, trust, World } from '../../config/offline/world.ts';
import { plugins } from '../../config/plugins.ts';
import { EXAMPLES } from '../../core/cli/examples.ts';
import { parsePipelineText } from '../../core/pipeline/load.ts';
import { LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { temporaryFolder } from '../support.ts';
import { type Block, blocksOf, PAGES, root } from './pages.ts';

/** Programs of others: what they do in the clouds nobody can try here. That their lines are shell is looked at. */
const OTHERS: Readonly<Record<string, string>> = {
  aws: 'needs an AWS account',
  sam: 'needs an AWS account',
  gcloud: 'needs a Google Cloud account',
  docker: 'needs a Docker engine',
  kubectl: 'needs a cluster',
  git: 'the address is that of wherever the repository is',
  zip: 'is not on every machine; what it packs is made on the page',
  npm: 'is tried by CI itself: .ci/run, .ci/smoke, .ci/kit',
  npx: 'is tried by CI itself: .ci/smoke, .ci/kit',
};

/** Lines of ours that cannot be run as they stand. */
const NOT_RUN: readonly { readonly line: RegExp; readonly why: string }[] = [
  { line: /^isthmus serve/, why: 'waits for pushes; test/serve tries it' },
  { line: /--role-id AROA…/, why: 'the id is that of a role' },
  { line: /^isthmus init$/, why: 'asks on a terminal; test/kit tries it' },
  { line: /^isthmus apply plan\.jsonl --shard 8$/, why: 'Kubernetes says which part; test/cli/share.test.ts tries it' },
  {
    line: /^isthmus auth (import|setup --check)/,
    why: 'reads files of gcloud; test/setup and test/bad-credentials try it',
  },
  {
    line: /^isthmus report pipeline\.yaml run\.json run\.log$/,
    why: 'needs what run has printed; the example of its help is run',
  },
  { line: /^isthmus (plugin new|plugins --pipeline|validate pipeline\.example)/, why: '.ci/kit tries it' },
];

interface Ran {
  readonly code: number;
  readonly said: string;
}

/** A line of shell, with `isthmus` as this checkout has it. */
async function shell(line: string, cwd: string, env: Record<string, string>): Promise<Ran> {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn('bash', ['-ec', line], {
    cwd,
    env: { ...env, PATH: `${join(cwd, '.bin')}:${PATH}`, HOME },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  const [code] = (await once(child, 'close')) as [number];
  return { code, said };
}

/** A folder with the command in it, and a cloud that has what the pages speak of. */
async function place() {
  const folder = await temporaryFolder();
  const cloud = await localCloud();
  await mkdir(join(folder.path, '.bin'));
  const command = join(folder.path, '.bin/isthmus');
  await writeFile(command, `#!/bin/sh\nexec "${process.execPath}" "${join(root, 'config/main-cli.ts')}" "$@"\n`);
  await chmod(command, 0o755);
  cpSync(join(root, 'examples'), join(folder.path, 'examples'), {
    recursive: true,
    filter: (from) => !from.includes('plugins'),
  });
  const table = {
    fields: [
      { name: 'id', type: 'INTEGER' },
      { name: 'day', type: 'DATE' },
    ],
    rows: [{ id: '1', day: '2026-11-02' }],
  };
  const tables = Object.fromEntries(['acme-data.sales.orders', 'acme.sales.orders'].map((name) => [name, table]));
  const answers = [{ matches: 'SELECT', ...table }];
  const ml = cloud.gcs.bucket('acme-ml', [LOCAL_SERVICE_ACCOUNT], [LOCAL_SERVICE_ACCOUNT]);
  const environment = { ...cloud.environment };
  const services = {
    bigquery: { location: 'EU', tables, answers } as never,
    vertexai: { 'models/1234567890': 'echo' },
  };
  cloud.vertexai.models.set('gemini-2.5-flash', () => ({
    candidates: [{ content: { parts: [{ text: '{"sender":"Acme","total":12.5}' }] }, finishReason: 'STOP' }],
    usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 },
    modelVersion: 'gemini-2.5-flash',
  }));
  return {
    path: folder.path,
    environment,
    async pipeline(name: string, text: string): Promise<void> {
      await writeFile(join(folder.path, name), text);
      const pipeline = parsePipelineText(text, name, { plugins, environment: {} });
      Object.assign(environment, sessionFor(pipeline, cloud));
      const principals = trust({ ...pipeline, identities: withoutGoogle(pipeline.identities) }, cloud);
      fromGoogle(pipeline.identities, cloud);
      const world = new World(cloud, new Set([...principals, LOCAL_SERVICE_ACCOUNT]), join(folder.path, 'no-fixtures'));
      world.services(services);
      await world.fill(pipeline);
      for (const principal of principals) ml.readers.add(principal);
      for (const { plugin, config } of pipeline.sources) {
        const { bucket = '', prefix = '' } = config as { bucket?: string; prefix?: string };
        for (const key of ['a.csv', 'b/c.json']) {
          if (plugin.name === 'gcs') cloud.gcs.buckets.get(bucket)?.put(prefix + key, `{"key":"${key}"}\n`);
          if (plugin.name === 's3') cloud.s3.buckets.get(bucket)?.put(prefix + key, `{"key":"${key}"}\n`);
        }
      }
      inputsOf(cloud);
    },
    async [Symbol.asyncDispose]() {
      await cloud[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

type Identities = ReturnType<typeof parsePipelineText>['identities'];
const withoutGoogle = (identities: Identities): Identities =>
  Object.fromEntries(Object.entries(identities).filter(([, one]) => !(one.kind === 'aws' && one.google !== undefined)));

/** Roles that an ID token of Google may assume. */
function fromGoogle(identities: Identities, cloud: LocalCloud): void {
  for (const one of Object.values(identities))
    if (one.kind === 'aws' && one.google !== undefined && one.roleArn !== undefined)
      cloud.awsSts.webIdentityRoles.set(one.roleArn.slice(one.roleArn.lastIndexOf('/') + 1), {
        issuer: cloud.google,
        claims: {},
      });
}

/** What the recipes of Vertex AI read. */
function inputsOf(cloud: LocalCloud): void {
  for (const [name, bucket] of cloud.gcs.buckets)
    if (name === 'acme-ml') {
      bucket.put('customers.jsonl', '{"id":1}\n{"id":2}\n');
      bucket.put('invoices/1.pdf', 'pdf', { contentType: 'application/pdf' });
    }
}

/** Of pages that have no pipeline of their own before their first command. */
const usual = (): Promise<string> => readFile(join(root, 'pipeline.example.yaml'), 'utf8');

const commandsIn = (blocks: readonly Block[]) => blocks.filter((block) => block.kind === 'command');
const isOurs = (line: string): boolean => /^(isthmus|mkdir|echo|source) /.test(line) || line === 'isthmus init';
const pagesWithOurs = PAGES.filter((page) => commandsIn(blocksOf(page)).some(({ line }) => isOurs(line)));

describe('every command of ours in the pages is run, in their order', () => {
  it('finds some', () => expect(pagesWithOurs.length).toBeGreaterThan(15));

  it.concurrent.each(pagesWithOurs)('%s', async (page) => {
    await using here = await place();
    const blocks = blocksOf(page);
    // Commands before the first pipeline of a page are about that one.
    const first = blocks.find((block) => block.kind === 'pipeline')?.text;
    let given = false;
    for (const block of blocks) {
      if (block.kind === 'pipeline') {
        await here.pipeline('pipeline.yaml', block.text);
        given = true;
        continue;
      }
      const { line, at } = block;
      if (!isOurs(line) || NOT_RUN.some((one) => one.line.test(line))) continue;
      if (!given && !line.startsWith('isthmus init')) {
        await here.pipeline('pipeline.yaml', first ?? (await usual()));
        given = true;
      }
      if (line.startsWith('isthmus init')) given = true;
      for (const name of ['a.yaml', 'b.yaml', 'nightly.yaml'])
        if (line.includes(name) && !existsSync(join(here.path, name))) {
          const text = (await usual()).replace('name: nightly-exports', `name: ${name.replace('.yaml', '')}`);
          await here.pipeline(name, text);
          await mkdir(join(here.path, name.replace('.yaml', '.test/source')), { recursive: true });
          await writeFile(join(here.path, name.replace('.yaml', '.test/source/a.csv')), 'x\n');
        }
      const { code, said } = await shell(line, here.path, here.environment);
      expect(code, `${at}: ${line}\n${said.slice(-2000)}`).toBe(0);
      // What a pipeline of `init` names is there, too.
      if (line.startsWith('isthmus init'))
        await here.pipeline('pipeline.yaml', await readFile(join(here.path, 'pipeline.yaml'), 'utf8'));
    }
  });
});

describe('every example of --help is run', () => {
  it.concurrent.each(Object.keys(EXAMPLES))('isthmus %s', async (name) => {
    await using here = await place();
    await here.pipeline('pipeline.yaml', await usual());
    await mkdir(join(here.path, 'pipeline.test/source'), { recursive: true });
    const first: Readonly<Record<string, string>> = {
      apply: 'isthmus plan pipeline.yaml --out plan.jsonl',
      verify: 'isthmus run pipeline.yaml',
      receipts: 'isthmus run pipeline.yaml',
      report: 'isthmus run pipeline.yaml --json --log json > run.json 2> run.log',
    };
    for (const line of [first[name], ...(EXAMPLES[name] ?? []).map(([one]) => one)]) {
      if (line === undefined || NOT_RUN.some((one) => one.line.test(line) && name !== 'plugin new')) continue;
      if (name === 'receipts') {
        const kept = 'receipts: { use: s3, with: { bucket: acme-lake, prefix: receipts/, region: eu-west-1 } }\n';
        await here.pipeline('pipeline.yaml', `${await usual()}\n${kept}`);
      }
      const { code, said } = await shell(line, here.path, here.environment);
      expect(code, `${line}\n${said.slice(-2000)}`).toBe(0);
    }
  });
});

describe('lines of other programs', () => {
  const lines = PAGES.flatMap((page) => commandsIn(blocksOf(page))).filter(({ line }) => !isOurs(line));
  it('are of programs that are known, and each has its reason not to be run', () => {
    const program = (line: string): string => /^(?:[A-Z_]+=\S+ )*(\S+)/.exec(line)?.[1] ?? '';
    const unknown = lines.filter(
      ({ line }) => !(program(line) in OTHERS) && !/^(?:[A-Z_]+=\S+ )*(bash|cd) /.test(line),
    );
    expect(unknown).toEqual([]);
  });
  it('are shell', () => {
    for (const { line, at } of lines) expect(spawnSync('bash', ['-n'], { input: line }).status, at).toBe(0);
  });
  it('name scripts of npm that there are', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const named = lines.flatMap(({ line }) =>
      [...line.matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, script = '']) => script),
    );
    expect(named.filter((script) => scripts[script] === undefined)).toEqual([]);
  });
});
