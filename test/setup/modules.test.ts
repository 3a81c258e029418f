import { spawnSync } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { referred } from '../../core/setup/model.ts';
import { trustDocument } from '../../core/setup/shell.ts';
import { accountsOf, awsTerraform } from '../../core/setup/terraform-aws.ts';
import { googleTerraform } from '../../core/setup/terraform-google.ts';
import { temporaryFolder } from '../support.ts';
import { made, PIPELINES, SA, setupFor } from './examples.ts';

/** Terraform, or its free twin, where one is installed. */
const terraform = ['terraform', 'tofu'].find((program) => spawnSync(program, ['version']).status === 0);

/** A CLI configuration of Terraform that names a mirror of the providers. */
const mirror = process.env.ISTHMUS_TERRAFORM_CONFIG;
const { TF_CLI_CONFIG_FILE: _, ...env } = process.env;

async function written(folder: string, name: string): Promise<string[]> {
  const setup = setupFor(name);
  const files: [string, string | undefined][] = [
    ['google', googleTerraform(setup)],
    ...accountsOf(setup).map((account): [string, string] => [
      `aws-${account.replace(/\W/g, '')}`,
      awsTerraform(setup, account),
    ]),
  ];
  const folders: string[] = [];
  for (const [side, source] of files) {
    if (source === undefined) continue;
    await mkdir(join(folder, side));
    await writeFile(join(folder, side, 'main.tf'), source);
    folders.push(join(folder, side));
  }
  return folders;
}

describe.each(Object.keys(PIPELINES))('the set-up of a pipeline that is %s', (name) => {
  it.skipIf(terraform === undefined)(
    'is formatted as `terraform fmt` does (skipped where terraform is not installed)',
    async () => {
      await using folder = await temporaryFolder();
      await written(folder.path, name);
      const { status, stdout, stderr } = spawnSync(terraform ?? '', ['fmt', '-check', '-diff', '-recursive', '.'], {
        cwd: folder.path,
        encoding: 'utf8',
        env,
      });
      expect(`${stdout}${stderr}`).toBe('');
      expect(status).toBe(0);
    },
  );

  // It would have to fetch the providers; with a mirror of them (a CLI configuration that names one) it need not.
  it.skipIf(terraform === undefined || mirror === undefined)(
    'is valid to `terraform validate` (skipped where ISTHMUS_TERRAFORM_CONFIG names no mirror of the providers)',
    async () => {
      await using folder = await temporaryFolder();
      for (const cwd of await written(folder.path, name)) {
        const go = (...args: string[]) =>
          spawnSync(terraform ?? '', args, { cwd, encoding: 'utf8', env: { ...env, TF_CLI_CONFIG_FILE: mirror } });
        expect(go('init', '-backend=false', '-input=false').status).toBe(0);
        expect(go('validate', '-no-color')).toMatchObject({ status: 0 });
      }
    },
    60_000,
  );

  it('is what it was when it was last looked at', async () => {
    const all = Object.values(made(name)).flat().join('\n#####\n\n');
    await expect(all).toMatchFileSnapshot(`expected/${name}.txt`);
  });

  it('is broader in nothing: no wildcard principal, no action of a whole service, every provider pinned', () => {
    const all = Object.values(made(name)).flat().join('\n');
    expect(all).not.toMatch(/workloadIdentityPools\/[^/"']+\/\*/);
    expect(all).not.toMatch(/"[a-z0-9]+:\*"|FullAccess|roles\/(?:owner|editor|storage\.admin)/);
    for (const block of all.split('resource "google_iam_workload_identity_pool_provider"').slice(1))
      expect(block).toMatch(/attribute_condition\s+= "assertion\.(arn\.startsWith|sub ==)/);
  });

  it('runs as a script, calls nothing but gcloud, bq and aws, and leaves what is quoted alone', async () => {
    await using folder = await temporaryFolder();
    const log = join(folder.path, 'log');
    for (const program of ['gcloud', 'bq', 'aws']) {
      const path = join(folder.path, program);
      // "describe" and "get" fail, so that everything is made.
      await writeFile(
        path,
        `#!/bin/bash\nprintf '%s\\0' ${program} "$@" >>"${log}"; printf '\\n' >>"${log}"\ncase " $* " in *" describe "*|*" get-role "*|*" get-instance-profile "*) exit 1;; *" get-caller-identity "*) echo "\${ACCOUNT:-111122223333}";; esac\n`,
      );
      await chmod(path, 0o755);
    }
    const known = {
      CLUSTER_ISSUER: 'https://oidc.example',
      CLUSTER_ISSUER_HOST: 'oidc.example',
      CLUSTER_OIDC_PROVIDER_ARN: 'arn:aws:iam::111122223333:oidc-provider/oidc.example',
      KUBERNETES_NAMESPACE: 'default',
      KUBERNETES_SERVICE_ACCOUNT: 'exports',
      ATTACHED_SERVICE_ACCOUNT: SA,
      GOOGLE_SERVICE_ACCOUNT_ID: '117000000000000000000',
      AWS_ACCOUNT: '111122223333',
      AWS_TOKEN_ISSUER: 'https://0d5d.tokens.sts.global.api.aws',
    };
    for (const script of made(name).shell) {
      const { status, stderr } = spawnSync('bash', ['--norc', '-c', script], {
        stdio: ['ignore', 'pipe', 'pipe'],
        encoding: 'utf8',
        env: { PATH: `${folder.path}:/usr/bin:/bin`, ...known },
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      // Whatever is not known is asked for before anything is done.
      const asked = spawnSync('/bin/bash', ['--norc', '-c', script], {
        stdio: ['ignore', 'pipe', 'pipe'],
        encoding: 'utf8',
        env: { PATH: '/nowhere' },
      });
      if (/:\?/.test(script)) expect(asked.stderr).toMatch(/[A-Z_]+: /);
    }
    const calls = (await readFile(log, 'utf8')).split('\0\n').map((line) => line.split('\0'));
    const argument = (flag: string): string[] => calls.flatMap((call) => call.filter((one) => one.startsWith(flag)));
    for (const condition of argument('--attribute-condition=')) expect(condition).not.toMatch(/\{\{|\$\{/);
    if (name === 'bigquery')
      expect(calls.find(([program]) => program === 'bq')?.at(-1)).toMatch(
        /^GRANT `roles\/bigquery\.dataViewer` ON SCHEMA `acme-data\.sales` TO "principalSet:\/\/.*exports"$/,
      );
    const trusts = calls.flatMap((call) =>
      call.includes('create-role') ? [JSON.parse(call.at(-1) ?? '') as object] : [],
    );
    const documents = setupFor(name).roles.map((role) => trustDocument(role));
    const filled = referred(JSON.stringify(documents), (unknown) => known[unknown as keyof typeof known]);
    expect(trusts).toEqual(JSON.parse(filled));
  });
});
