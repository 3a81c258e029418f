import { spawnSync } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { setupOf } from '../../core/setup/model.ts';
import { awsScript, googleScript } from '../../core/setup/shell.ts';
import { temporaryFolder } from '../support.ts';
import { expected, POOL, pipelineOf } from './examples.ts';

describe('a script that is run again', () => {
  const reader = { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected };
  const setup = setupOf([pipelineOf('p', { reader })]);

  /** Runs it where everything exists already; `condition` is that of the provider. */
  async function run(source: string, condition: string, more: Record<string, string> = {}) {
    await using folder = await temporaryFolder();
    const log = join(folder.path, 'log');
    for (const program of ['gcloud', 'aws']) {
      const path = join(folder.path, program);
      const answers = `case " $* " in *"(state)"*) echo "\${STATE:-ACTIVE}";; *" providers describe "*) printf '%s\n' "$FOUND";; *" get-caller-identity "*) echo 111122223333;; esac`;
      await writeFile(path, `#!/bin/bash\necho ${program} "$@" >>"${log}"\n${answers}\n`);
      await chmod(path, 0o755);
    }
    const env = { PATH: `${folder.path}:/usr/bin:/bin`, FOUND: condition, ...more };
    const { status, stderr } = spawnSync('bash', ['--norc', '-c', source], { encoding: 'utf8', env });
    return { status, stderr, calls: await readFile(log, 'utf8') };
  }
  const google = googleScript(setup) ?? '';

  it('leaves a provider alone that lets others in too, and says so', async () => {
    const { status, stderr, calls } = await run(google, "assertion.arn.startsWith('another')");
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/another condition: .*'another'[\s\S]*REPLACE=1/),
    });
    expect(calls).not.toMatch(/create|update|add-iam/);
  });

  it('replaces it when told to', async () => {
    const { status, calls } = await run(google, "assertion.arn.startsWith('another')", { REPLACE: '1' });
    expect(status).toBe(0);
    expect(calls).toMatch(
      /update-aws projects\/123456789\/locations\/global\/workloadIdentityPools\/aws-prod\/providers\/isthmus /,
    );
  });

  it('goes on where the provider is as it has to be', async () => {
    const condition = /^condition="(.*)"$/m.exec(google)?.[1] ?? '';
    expect(await run(google, condition)).toMatchObject({ status: 0, stderr: '' });
  });

  it('leaves it to the administrator who may become a role that is there', async () => {
    const aws = awsScript(setup, '111122223333');
    const left = await run(aws, '');
    expect(left).toMatchObject({ status: 0, stderr: expect.stringContaining('left as it is') });
    expect(left.calls).toContain('put-role-policy');
    expect(left.calls).not.toContain('update-assume-role-policy');
    expect((await run(aws, '', { REPLACE: '1' })).calls).toContain('update-assume-role-policy');
  });

  it('brings back what was deleted less than 30 days ago', async () => {
    const { status, calls } = await run(google, '', { STATE: 'DELETED', REPLACE: '1' });
    expect(status).toBe(0);
    expect(calls).toMatch(/workload-identity-pools undelete .*\n[\s\S]*providers undelete /);
    expect(calls).not.toMatch(/pools create|create-aws/);
  });

  it('names no project by number where gcloud wants an id', () => {
    expect(google).not.toMatch(/gcloud iam [^\n]*--project=\d/);
  });
});
