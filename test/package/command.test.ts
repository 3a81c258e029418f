import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { caught } from '../leaks.ts';
import { temporaryFolder } from '../support.ts';
import { packageInto } from './packaged.ts';
import { PIPELINES, VARIABLES } from './pipelines.ts';

async function command(pipeline: string, name: string, ...more: readonly string[]): Promise<string> {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'p.yaml');
  await writeFile(file, pipeline);
  const lines: string[] = [];
  const output = { out: (line: string) => void lines.push(line), err: () => {}, terminal: undefined };
  const cli = compose({ ...process.env, ...VARIABLES }).get(tokens.cli);
  expect(await cli([name, file, ...more], output, '0')).toBe(0);
  return lines.join('\n');
}

describe('isthmus permissions', () => {
  it('says what is needed in both clouds, on what, and why', async () => {
    const text = await command(PIPELINES.full ?? '', 'permissions');
    for (const line of [
      'AWS role arn:aws:iam::111122223333:role/exports (the pipeline runs as it)',
      '  s3:PutObject, s3:PutObjectTagging, s3:AbortMultipartUpload, s3:ListMultipartUploadParts, s3:GetObject',
      '    to keep the checkpoint below s3://state/isthmus/',
      '  lambda:InvokeFunction\n    on the function itself',
      '  roles/storage.objectViewer\n    on bucket gs://exports',
      '  roles/iam.workloadIdentityUser\n    on service account exports-reader@acme.iam.gserviceaccount.com',
    ])
      expect(text).toContain(line);
  });

  it('asks for the right to delete only where the pipeline deletes, and where its receipts go', async () => {
    const plain = await command(PIPELINES.plain ?? '', 'permissions');
    expect(plain).not.toMatch(/s3:DeleteObject|storage\.objectUser/);
    const more =
      'delete: { extras: true }\nreceipts: { use: s3, with: { bucket: proofs, prefix: r/, region: eu-west-1 } }\n';
    const deleting = await command(`${PIPELINES.plain}${more}`, 'permissions');
    expect(deleting).toContain('  s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload');
    expect(deleting).toContain('on arn:aws:s3:::proofs/r/*');
    expect(await command(`${PIPELINES.plain}move: true\n`, 'permissions')).toContain('  roles/storage.objectUser\n');
  });

  it('says nothing of a Lambda where it is none', async () => {
    expect(await command(PIPELINES.full ?? '', 'permissions', '--place', 'ecs')).not.toContain('lambda:');
  });

  it('needs no `expect`: what is not known stands in capitals', async () => {
    const pipeline = (PIPELINES.plain ?? '').replace(/ {4}expect:.*\n/, '');
    const text = await command(pipeline, 'permissions');
    expect(text).toContain('AWS role arn:aws:iam::<AWS_ACCOUNT>:role/isthmus-nightly');
  });

  it('is the same for machines', async () => {
    const { aws, google, platform } = JSON.parse(await command(PIPELINES.full ?? '', 'permissions', '--json'));
    expect(aws[0].policy.Statement.flatMap(({ Action }: { Action: string[] }) => Action)).toContain('kms:Decrypt');
    expect(google.map(({ role }: { role: string }) => role)).toContain('roles/storage.objectViewer');
    expect(platform.flatMap(({ actions }: { actions: string[] }) => actions)).toContain('logs:PutLogEvents');
  });
});

describe('isthmus package', () => {
  it('tells machines what it made, of what it is filled, and what to look at', async () => {
    await using folder = await temporaryFolder();
    const { out, err } = await packageInto(folder.path, PIPELINES.full ?? '', '--json');
    const told = JSON.parse(out);
    expect(told).toMatchObject({
      pipeline: 'nightly',
      target: 'lambda',
      variables: { PUSH_AUDIENCE: VARIABLES.PUSH_AUDIENCE },
    });
    expect(told.contents.reduce((sum: number, [, bytes]: [string, number]) => sum + bytes, 0)).toBeLessThanOrEqual(
      told.bytes,
    );
    expect(told.warnings).toHaveLength(1);
    expect(err).toBe('');
  });
});

describe('isthmus serve', () => {
  const serve = async (
    pipeline: string,
    more: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ) => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'p.yaml');
    await writeFile(file, pipeline);
    const output = { out: () => {}, err: () => {}, terminal: undefined };
    const cli = compose({ AWS_REGION: 'eu-west-1', ...VARIABLES, ...environment }).get(tokens.cli);
    // Awaited here, since the folder goes with this function.
    return await caught(cli(['serve', file, ...more], output, '0'));
  };

  it('does not wait for what nobody may send', async () => {
    expect(await serve(PIPELINES.plain ?? '', ['--port', '0'])).toMatchObject({
      code: 'invalid_config',
      message: 'the pipeline has no `push`: nobody may push to it',
    });
  });

  it.each([
    [['--port', 'abc'], {}, '--port must be a number up to 65535, not abc'],
    [['--port', '70000'], {}, '--port must be a number'],
    [['--queue', '-1'], {}, '--queue must be a number'],
    [[], { PORT: 'abc' }, 'PORT must be a number up to 65535, not abc'],
  ])('refuses %j with %j', async (more, environment, message) => {
    expect(await serve(PIPELINES.full ?? '', more, environment)).toMatchObject({
      message: expect.stringContaining(message),
    });
  });
});
