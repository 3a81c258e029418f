import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { patternBody } from '../cloud/body.ts';
import { LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { seed } from '../demo/seed.ts';
import { searchForLeaks } from '../leaks.ts';
import { temporaryFolder } from '../support.ts';

const root = join(import.meta.dirname, '../..');
const EXAMPLE = join(root, 'pipeline.example.yaml');

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(cloud: LocalCloud | undefined, args: readonly string[], env: Record<string, string> = {}) {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(process.execPath, [join(root, 'config/main-cli.ts'), ...args], {
    env: { PATH, HOME, ...cloud?.environment, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stderr.on('data', (chunk) => {
    err += String(chunk);
  });
  const ended = once(child, 'close').then(([code]): Ran => {
    searchForLeaks(`isthmus ${args.join(' ')}: output`, out);
    searchForLeaks(`isthmus ${args.join(' ')}: errors and log`, err);
    return { code: code as number | null, out, err };
  });
  return { child, ended };
}

const isthmus = (cloud: LocalCloud | undefined, ...args: string[]): Promise<Ran> => start(cloud, args).ended;

async function seededCloud(): Promise<LocalCloud> {
  const cloud = await localCloud();
  seed(cloud);
  return cloud;
}

describe('isthmus', () => {
  it('plans, runs, and plans again: everything is unchanged', async () => {
    await using cloud = await seededCloud();
    const before = await isthmus(cloud, 'plan', EXAMPLE);
    expect(before).toMatchObject({ code: 0, out: expect.stringContaining('8 to create, 0 to update') });
    expect(cloud.s3.buckets.get('acme-lake')?.objects.size).toBe(0);
    const ran = await isthmus(cloud, 'run', EXAMPLE, '--json');
    expect(ran.code).toBe(0);
    const report = JSON.parse(ran.out) as Record<string, unknown>;
    expect(Object.keys(report)).toEqual([
      'pipeline',
      'runId',
      'outcome',
      'items',
      'bytes',
      'durationMs',
      'failures',
      'used',
    ]);
    expect(report).toMatchObject({
      outcome: 'complete',
      items: { written: 8, unchanged: 0, skipped: 0, deleted: 0, refused: 0, failed: 0 },
      failures: [],
    });
    const after = await isthmus(cloud, 'plan', EXAMPLE, '--json');
    expect(JSON.parse(after.out)).toMatchObject({ actions: { create: 0, update: 0, skip: 8 } });
  });

  it('verifies both sides by checksum, and names each difference', async () => {
    await using cloud = await seededCloud();
    expect((await isthmus(cloud, 'run', EXAMPLE)).code).toBe(0);
    const same = await isthmus(cloud, 'verify', EXAMPLE, '--extras');
    expect(same).toMatchObject({ code: 0, out: expect.stringContaining(': 8 the same\n') });
    const reads = (): number => cloud.gcs.requests.filter(({ target }) => target.includes('alt=media')).length;
    const before = reads();
    const [source, sink] = [cloud.gcs.buckets.get('acme-exports'), cloud.s3.buckets.get('acme-lake')];
    const readme = sink?.objects.get('raw/readme.txt');
    if (sink === undefined || readme === undefined) throw new Error('the run has stored it');
    source?.put('2026/a,"new"', 'only here');
    source?.put('2026/readme.txt', 'CARRIED BETWEEN CLOUDS WITHOUT A KEY.\n');
    sink.remove('raw/empty');
    sink.store({ ...readme, key: 'raw/zzz' });
    const found = await isthmus(cloud, 'verify', EXAMPLE);
    expect(found).toMatchObject({ code: 3, out: expect.stringContaining(': 6 the same, 2 missing, 1 different\n') });
    expect(found.out).toMatch(/^missing {4}a,"new" {2}\(not in the sink\)$/m);
    const told = await isthmus(cloud, 'verify', EXAMPLE, '--extras', '--json');
    expect(JSON.parse(told.out)).toMatchObject({
      counts: { same: 6, missing: 2, different: 1, unproved: 0, refused: 0, extra: 1 },
      findings: expect.arrayContaining([expect.objectContaining({ finding: 'extra', key: 'zzz', bytes: 38 })]),
    });
    const csv = (await isthmus(cloud, 'verify', EXAMPLE, '--csv')).out.split('\n');
    expect(csv[0]).toBe('finding,key,sink,bytes,reason');
    expect(csv).toContainEqual(
      expect.stringMatching(/^missing,"a,""new""",s3:\/\/acme-lake\/raw\/?,9,not in the sink$/),
    );
    expect(reads()).toBe(before);
  });

  it('verifies nothing of what each run makes anew, and says so', async () => {
    await using cloud = await seededCloud();
    await using folder = await temporaryFolder();
    const identities =
      'identities: { reader: { kind: gcp, audience: //iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers/isthmus } }';
    const bigquery = '{ use: bigquery, with: { identity: reader, project: acme-data, table: sales.orders } }';
    const verified = async (sources: string, ...flags: readonly string[]): Promise<Ran> => {
      const file = join(folder.path, 'p.yaml');
      await writeFile(file, `name: p\n${identities}\nsource: [${sources}]\nsink: { use: file, with: { path: out } }\n`);
      return isthmus(cloud, 'verify', file, ...flags);
    };
    await mkdir(join(folder.path, 'in'));
    await writeFile(join(folder.path, 'in/a'), 'a');
    const files = '{ use: file, with: { path: in } }';
    const none = await verified(bigquery);
    expect(none).toMatchObject({ code: 2, err: expect.stringContaining('is made by each run') });
    expect((await verified(`${bigquery}, ${files}`, '--extras')).code).toBe(2);
    const some = await verified(`${bigquery}, ${files}`);
    expect(some).toMatchObject({ code: 3, err: expect.stringContaining('not compared: bigquery://') });
    expect(some.out).toContain('missing');
  });

  it('ends 3 when some items failed, with a line for each, and 1 when it failed altogether', async () => {
    await using cloud = await seededCloud();
    cloud.s3.faults.add('PUT /acme-lake/raw/new', {
      kind: 'answer',
      status: 403,
      body: '<Error><Code>AccessDenied</Code><Message>no</Message></Error>',
    });
    cloud.gcs.buckets.get('acme-exports')?.put('2026/new', 'x');
    const partial = await isthmus(cloud, 'run', EXAMPLE);
    expect(partial).toMatchObject({
      code: 3,
      out: expect.stringMatching(/PARTIAL[\s\S]*new\n\s+permission_denied[\s\S]*Allow s3:PutObject/),
    });
    const failed = await start(cloud, ['run', EXAMPLE], { SINK_BUCKET: 'nowhere' }).ended;
    expect(failed).toMatchObject({ code: 1, out: expect.stringContaining('bucket_missing') });
    expect(failed.err).not.toContain('    at ');
  });

  it('writes one JSON line an event with --log json, and no secret in any', async () => {
    await using cloud = await seededCloud();
    const { err, out } = await isthmus(cloud, 'run', EXAMPLE, '--log', 'json', '--debug');
    const events = err
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string });
    expect(events.filter(({ event }) => event === 'item').length).toBeGreaterThanOrEqual(8);
    expect(events.map(({ event }) => event)).toContain('auth');
    for (const secret of [cloud.session.secretAccessKey, cloud.session.sessionToken ?? '', 'ya29.'])
      expect(err + out).not.toContain(secret);
  });
});

describe('isthmus, without any cloud', () => {
  it.each([
    ['an unknown flag', ['run', EXAMPLE, '--concurency=3'], /unknown option '--concurency=3'/],
    ['an unknown command', ['rnu'], /unknown command 'rnu'[\s\S]*Did you mean run/],
    ['a missing pipeline', ['run'], /missing required argument 'pipeline'/],
    ['two pipelines', ['run', EXAMPLE, EXAMPLE], /too many arguments/],
    ['a wrong format of the log', ['run', EXAMPLE, '--log', 'xml'], /Allowed choices are text, json/],
    ['a pipeline that is not there', ['run', 'nowhere.yaml'], /nowhere\.yaml: no such file/],
    ['a plugin that is not there', ['plugins', 'gsc'], /did you mean "gcs"/],
  ])('answers 2 and says what is wrong with %s', async (_name, args, message) => {
    const { code, err } = await isthmus(undefined, ...args);
    expect(code).toBe(2);
    expect(err).toMatch(message);
    expect(err).not.toContain('    at ');
  });

  it('prints one document with --json for a mistake in the arguments too', async () => {
    const { code, out } = await isthmus(undefined, 'run', EXAMPLE, '--json', '--bogus');
    expect(code).toBe(2);
    expect(JSON.parse(out)).toMatchObject({
      error: { code: 'invalid_config', message: expect.stringContaining('--bogus') },
    });
  });

  it('lists plugins, their options and the schema', async () => {
    expect((await isthmus(undefined, 'plugins')).out).toMatch(/source\s+gcs[\s\S]*sink\s+s3/);
    expect((await isthmus(undefined, 'plugins', 's3')).out).toMatch(/expectedBucketOwner/);
    expect(JSON.parse((await isthmus(undefined, 'schema')).out)).toMatchObject({ title: 'Isthmus pipeline' });
    expect((await isthmus(undefined, '--help')).out).toContain(
      'Exit codes: 0 complete, 1 failed, 2 invalid input, 3 partial, 4 paused.',
    );
  });

  it('says what to do when there are no AWS credentials, in seconds', async () => {
    const { code, out } = await start(undefined, ['run', EXAMPLE], {
      AWS_REGION: 'eu-west-1',
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: '/nonexistent',
      AWS_SHARED_CREDENTIALS_FILE: '/nonexistent',
    }).ended;
    expect(code).toBe(1);
    expect(out).toMatch(/AWS_NO_CREDENTIALS: no AWS credentials: not in Lambda, ECS, EKS or EC2, no profile/);
  });

  it('prints one JSON document with --json, also for what is not valid', async () => {
    const { code, out } = await isthmus(undefined, 'run', 'nowhere.yaml', '--json');
    expect(code).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ outcome: 'failed', problems: [{ message: 'no such file' }] });
  });

  it('sends credentials to no other endpoints than those of this machine', async () => {
    const { code, err } = await start(undefined, ['validate', EXAMPLE], {
      ISTHMUS_ENDPOINTS: '{"googleSts":"https://sts.example.com"}',
    }).ended;
    expect(code).toBe(2);
    expect(err).toContain('googleSts is not an address of this machine');
  });
});

describe('a stopped run', () => {
  const pipeline = (name: string, path: string) => ({
    name,
    identities: {
      reader: {
        kind: 'gcp',
        audience:
          '//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers/isthmus',
        serviceAccount: LOCAL_SERVICE_ACCOUNT,
      },
    },
    source: { use: 'gcs', with: { bucket: 'many', identity: 'reader' } },
    sink: { use: 's3', with: { bucket: 'lake', region: 'eu-west-1' } },
    state: { use: 'file', with: { path } },
    concurrency: 2,
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'by %s finishes what is in flight, ends 4, and goes on there',
    async (signal) => {
      await using cloud = await localCloud();
      await using folder = await temporaryFolder();
      const bucket = cloud.gcs.bucket('many', [LOCAL_SERVICE_ACCOUNT]);
      const lake = cloud.s3.bucket('lake');
      for (let n = 0; n < 60; n++) bucket.put(`k${String(n).padStart(2, '0')}`, patternBody(10_000));
      cloud.s3.faults.add('PUT /lake/', { kind: 'delay', ms: 20 }, Number.POSITIVE_INFINITY);
      const file = join(folder.path, 'p.yaml');
      await writeFile(file, JSON.stringify(pipeline('stopped', 'state')));

      const first = start(cloud, ['run', file, '--json']);
      while (lake.objects.size < 5) await new Promise((resolve) => setTimeout(resolve, 5));
      first.child.kill(signal);
      const stopped = await first.ended;
      expect(stopped.code).toBe(4);
      expect(JSON.parse(stopped.out)).toMatchObject({ outcome: 'paused', error: { code: 'stopped' } });
      expect(lake.objects.size).toBeLessThan(60);
      expect(cloud.s3.pendingUploads()).toBe(0);
      const [state] = await readdir(join(folder.path, 'state'));
      expect(JSON.parse(await readFile(join(folder.path, 'state', state ?? ''), 'utf8'))).toMatchObject({
        value: { pipeline: 'stopped' },
      });

      const second = await isthmus(cloud, 'run', file, '--json');
      expect(second.code).toBe(0);
      expect(JSON.parse(second.out)).toMatchObject({ outcome: 'complete', items: { written: 60, unchanged: 0 } });
      expect(lake.objects.size).toBe(60);
      expect(await readdir(join(folder.path, 'state'))).toEqual(['stopped.history.json']);
    },
  );
});
