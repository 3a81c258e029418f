import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { getLanguageService } from 'amazon-states-language-service';
import { describe, expect, it } from 'vitest';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { parse } from 'yaml';
import { temporaryFolder } from '../support.ts';
import { packageInto } from './packaged.ts';
import { PIPELINES } from './pipelines.ts';

const validate: unknown = createRequire(import.meta.url)('asl-validator');
const aslValidator = validate as (
  definition: object,
  options: object,
) => { readonly isValid: boolean; readonly errorsText: (separator: string) => string };

type States = Readonly<Record<string, State>>;
interface State {
  readonly Type: string;
  readonly Retry?: readonly { readonly ErrorEquals: readonly string[] }[];
  readonly Catch?: readonly { readonly ErrorEquals: readonly string[]; readonly Next: string }[];
  readonly ItemProcessor?: { readonly States: States };
  readonly [more: string]: unknown;
}

const terraform = ['terraform', 'tofu'].find((program) => spawnSync(program, ['version']).status === 0);
const mirror = process.env.ISTHMUS_TERRAFORM_CONFIG;
const { TF_CLI_CONFIG_FILE: _, ...env } = process.env;

async function made(pipeline = PIPELINES.full ?? '', ...more: string[]) {
  const folder = await temporaryFolder();
  const result = await packageInto(folder.path, pipeline, '--distributed', ...more);
  const read = (name: string): Promise<string> => readFile(join(result.made, name), 'utf8');
  return { ...result, read, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

/** As SAM and Terraform fill it in. */
const filled = (text: string): string =>
  text
    .replaceAll('$\u007bPartition}', 'aws')
    .replaceAll('$\u007bFunctionArn}', 'arn:aws:lambda:eu-west-1:111122223333:function:isthmus-nightly');

function* allStates(states: States): Generator<readonly [string, State]> {
  for (const [name, state] of Object.entries(states)) {
    yield [name, state];
    if (state.ItemProcessor !== undefined) yield* allStates(state.ItemProcessor.States);
  }
}

describe('the state machine of a packaged pipeline', () => {
  it('is what it was when it was last looked at, with all that belongs to it', async () => {
    await using folder = await made();
    const names = ['state-machine.asl.json', 'template.yaml', 'terraform/main.tf'];
    const texts = await Promise.all(names.map(async (name) => `##### ${name}\n${await folder.read(name)}`));
    await expect(texts.join('\n')).toMatchFileSnapshot('expected/full-distributed.txt');
  });

  it('is valid to the language service of AWS', async () => {
    await using folder = await made();
    const service = getLanguageService({});
    const check = async (text: string): Promise<readonly unknown[]> => {
      const document = TextDocument.create('file:///state-machine.asl.json', 'asl', 1, text);
      return await service.doValidation(document, service.parseJSONDocument(document));
    };
    const text = filled(await folder.read('state-machine.asl.json'));
    expect(await check(text)).toEqual([]);
    expect(await check(text.replace('"JSONL"', '"JSONLINES"'))).not.toEqual([]);
  });

  it('is valid to asl-validator, paths and names of resources included', async () => {
    await using folder = await made();
    const definition = JSON.parse(filled(await folder.read('state-machine.asl.json'))) as { States: States };
    const { isValid, errorsText } = aslValidator(definition, { checkPaths: true, checkArn: true });
    expect(isValid ? '' : errorsText('\n')).toBe('');
    const wrong = { ...definition, StartAt: 'Nowhere' };
    expect(aslValidator(wrong, {}).isValid).toBe(false);
  });

  it('has what neither of them looks at: limits of names, batches, and what is tried again', async () => {
    await using folder = await made();
    const { States: states } = JSON.parse(await folder.read('state-machine.asl.json')) as { States: States };
    for (const [name, state] of allStates(states)) {
      expect(name.length).toBeLessThanOrEqual(80);
      for (const { ErrorEquals } of [...(state.Retry ?? []), ...(state.Catch ?? [])])
        expect(ErrorEquals.includes('States.ALL') && ErrorEquals.length > 1).toBe(false);
      if (state.Type === 'Task') expect(state.Retry?.[0]).toMatchObject({ JitterStrategy: 'FULL' });
      // What is permanent is not tried again.
      for (const { ErrorEquals } of state.Retry ?? []) expect(ErrorEquals.join()).not.toMatch(/partial|permission/);
    }
    const transfer = states.Transfer;
    expect(transfer).toMatchObject({
      MaxConcurrencyPath: '$.gathered.answer.concurrency',
      ToleratedFailurePercentagePath: '$.gathered.answer.toleratedPercent',
      ItemReader: { ReaderConfig: { InputType: 'JSONL' } },
      ResultWriter: { Parameters: { Bucket: 'state', Prefix: 'isthmus/distributed/nightly/results' } },
      Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Finish' }],
    });
    expect(Object.keys(transfer?.ItemBatcher ?? {})).toEqual(['MaxItemsPerBatch', 'BatchInput']);
    expect(transfer?.Label).toMatch(/^[A-Za-z]{1,40}$/);
    for (const name of ['Plan', 'List', 'Gather', 'Transfer'])
      expect(states[name]?.Catch).toEqual([{ ErrorEquals: ['States.ALL'], ResultPath: '$.failure', Next: 'Finish' }]);
  });

  it('takes the schedule from the function, and is watched instead of it', async () => {
    await using folder = await made();
    const { Resources } = parse(await folder.read('template.yaml')) as {
      Resources: Record<string, { Properties: Record<string, unknown> }>;
    };
    expect(Resources.Function?.Properties.Events).toBeUndefined();
    expect(Resources.StateMachine?.Properties).toMatchObject({
      Events: { Schedule: { Properties: { Schedule: 'cron(0 3 ? * MON-FRI *)' } } },
      Logging: { Level: 'ERROR', IncludeExecutionData: false },
      Tags: { 'isthmus:pipeline': 'nightly' },
    });
    expect(Object.keys(Resources)).toContain('ExecutionsFailedAlarm');
    expect(Object.keys(Resources)).not.toContain('FailedInvocationsAlarm');
  });

  it('may do no more than it needs: only its log has no resources of its own', async () => {
    await using folder = await made();
    const { Resources } = parse(await folder.read('template.yaml')) as {
      Resources: {
        StateMachinePolicy: {
          Properties: { PolicyDocument: { Statement: { Action: string[]; Resource: unknown[] }[] } };
        };
      };
    };
    for (const { Action, Resource } of Resources.StateMachinePolicy.Properties.PolicyDocument.Statement)
      if (Resource.includes('*')) expect(Action.every((action) => action.startsWith('logs:'))).toBe(true);
  });

  it('needs a state in S3, and is for functions only', async () => {
    await using folder = await temporaryFolder();
    await expect(packageInto(folder.path, PIPELINES.plain ?? '', '--distributed')).rejects.toThrow('in Amazon S3');
    const elsewhere = (PIPELINES.full ?? '').replace(
      'bucket: state,',
      'bucket: state, endpoint: https://minio.acme.com,',
    );
    await expect(packageInto(folder.path, elsewhere, '--distributed')).rejects.toMatchObject({
      hint: 'Leave out state.with.endpoint: no other server is read.',
    });
    await expect(
      packageInto(folder.path, PIPELINES.full ?? '', '--distributed', '--target', 'container'),
    ).rejects.toThrow('isthmus apply --shard');
  });

  it.skipIf(terraform === undefined)(
    'is formatted as `terraform fmt` does (skipped where terraform is not installed)',
    async () => {
      await using folder = await made();
      const options = { cwd: folder.made, encoding: 'utf8', env } as const;
      const { status, stdout } = spawnSync(terraform ?? '', ['fmt', '-check', '-diff', '-recursive', '.'], options);
      expect(stdout).toBe('');
      expect(status).toBe(0);
    },
  );

  it.skipIf(terraform === undefined || mirror === undefined)(
    'is valid to `terraform validate` (skipped where ISTHMUS_TERRAFORM_CONFIG names no mirror of the providers)',
    async () => {
      await using folder = await made();
      const cwd = join(folder.made, 'terraform');
      const go = (...args: string[]) =>
        spawnSync(terraform ?? '', args, { cwd, encoding: 'utf8', env: { ...env, TF_CLI_CONFIG_FILE: mirror } });
      expect(go('init', '-backend=false', '-input=false')).toMatchObject({ status: 0 });
      expect(go('validate', '-no-color')).toMatchObject({ status: 0 });
    },
    60_000,
  );
});
