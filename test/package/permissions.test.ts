import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { patternBody } from '../cloud/body.ts';
import type { PolicyStatement } from '../cloud/iam.ts';
import { FUNCTION_ARN, testFunction } from '../lambda/function.ts';
import { temporaryFolder } from '../support.ts';
import { packageInto } from './packaged.ts';
import { PIPELINES, VARIABLES } from './pipelines.ts';

const MIB = 2 ** 20;

/** The statements of the role in the generated template, with the references to its own resources filled in. */
async function policies(): Promise<{ pipeline: PolicyStatement[]; platform: PolicyStatement[] }> {
  await using folder = await temporaryFolder();
  const { made } = await packageInto(folder.path, PIPELINES.full ?? '');
  const template = parse(await readFile(join(made, 'template.yaml'), 'utf8')) as {
    Resources: Record<
      'PipelinePolicy' | 'PlatformPolicy',
      { Properties: { PolicyDocument: { Statement: PolicyStatement[] } } }
    >;
  };
  const filled = JSON.parse(
    JSON.stringify([template.Resources.PipelinePolicy, template.Resources.PlatformPolicy])
      .replace(/\{"Fn::Sub":"[^"]*"\}/g, JSON.stringify(FUNCTION_ARN))
      .replace(/\{"Fn::GetAtt":\["(\w+)","Arn"\]\}/g, '"arn:of:$1"'),
  ) as (typeof template.Resources.PipelinePolicy)[];
  const [pipeline, platform] = filled.map(({ Properties }) => Properties.PolicyDocument.Statement);
  return { pipeline: pipeline ?? [], platform: platform ?? [] };
}

/**
 * Everything that a function does in its life: writes small and large objects, is paused and goes on, compares what is
 * there, gives up a write, and finds what a killed run has left. Answers with what went wrong, if anything did.
 */
async function live(policy: readonly PolicyStatement[]): Promise<string | undefined> {
  const data = parse(PIPELINES.full ?? '');
  await using fn = await testFunction({ ...data, retry: { attempts: 1 } }, { ...VARIABLES, ISTHMUS_LEASE: '0' });
  const { cloud, source, sink } = fn;
  cloud.s3.policy = policy;
  cloud.lambda.policy = policy;
  const problems: string[] = [];
  const note = (good: boolean, what: string): void => {
    if (!good) problems.push(what);
  };
  const invoke = (event: unknown, leftMs?: number) =>
    fn
      .invoke(event, leftMs)
      .catch((error: Error) => ({ outcome: 'failed', message: error.message }) as Record<string, unknown>);

  for (let n = 0; n < 8; n++) source.put(`2026/small-${n}`, `value ${n}`);
  source.put('2026/large', patternBody(6 * MIB), { composite: true });
  cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 120 }, 6);
  let answer = await invoke({}, 900);
  note(answer.outcome === 'paused', `a pause: ${answer.message}`);
  const [call] = cloud.lambda.invocations;
  answer = await invoke(call?.payload ?? {});
  note(answer.outcome === 'complete', `going on: ${answer.message}`);
  note(sink.objects.size === 9, 'all are there');
  note(
    [...fn.state.objects.keys()].every((key) => key.includes('history')),
    'the checkpoint is still there',
  );

  // Equal in size and without an MD5: what is stored must be asked for its checksum.
  answer = await invoke({});
  note(
    answer.outcome === 'complete' && (answer.items as { written: number }).written === 0,
    `comparing: ${answer.message}`,
  );

  source.put('2026/large', patternBody(7 * MIB), { composite: true });
  cloud.s3.faults.add('partNumber=2', { kind: 'answer', status: 400 });
  await invoke({});
  note(cloud.s3.pendingUploads() === 0, 'a write that was given up has left an upload');

  // A run that is killed in the middle of a multipart upload, and another that goes on after it.
  cloud.s3.faults.clear();
  cloud.s3.faults.add('partNumber=1', { kind: 'delay', ms: 1500 });
  const killed = invoke({}, 60_000);
  while (cloud.s3.pendingUploads() === 0 && problems.length === 0 && (await isPending(killed))) await tick();
  const left = structuredClone([...sink.uploads.values()]);
  const textOf = ({ chunks }: { readonly chunks: readonly Buffer[] }): string => Buffer.concat([...chunks]).toString();
  // The upload is on record by its id a moment after it was begun.
  const recorded = () => [...fn.state.objects.values()].find((one) => textOf(one).includes('uploadId'));
  while (recorded() === undefined && problems.length === 0 && (await isPending(killed))) await tick();
  const record = recorded();
  await killed;
  note(record !== undefined && left.length > 0, 'a write was on record before it began');
  for (const isKnown of [false, true]) {
    const text = record === undefined ? '{}' : textOf(record);
    const before = JSON.parse(text) as { value?: { begun?: { left?: unknown }[]; alive?: unknown } };
    for (const one of before.value?.begun ?? []) if (!isKnown) delete one.left;
    if (record !== undefined) fn.state.store({ ...record, chunks: [Buffer.from(JSON.stringify(before))] });
    for (const upload of left) sink.uploads.set(upload.id, { ...upload, parts: new Map() });
    for (const { key } of left) sink.remove(key);
    answer = await invoke({});
    note(answer.outcome === 'complete', `going on after a kill: ${answer.message}`);
    note(cloud.s3.pendingUploads() === 0, 'what a killed run has left is still there');
  }

  answer = await invoke({ object: '2026/small-0' });
  note(answer.outcome === 'complete', `one object: ${answer.message}`);
  source.put('2026/new', 'new');
  answer = await invoke({ object: '2026/new' });
  note(answer.outcome === 'complete', `a new object: ${answer.message}`);
  return problems[0];
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const isPending = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => false), tick().then(() => true)]);

const { pipeline, platform } = await policies();
const actions = [...pipeline, ...platform].flatMap(({ Action }, statement) =>
  Action.map((action) => ({ statement, action })),
);
/** Asked by AWS itself, not by us: no local server can tell that they are missing. */
const OF_THE_PLATFORM = ['logs:CreateLogStream', 'logs:PutLogEvents', 'sqs:SendMessage'];

describe('the policy of a function', () => {
  it('is enough for everything that it does', async () => {
    expect(await live([...pipeline, ...platform])).toBeUndefined();
  });

  it.each(actions.filter(({ action }) => !OF_THE_PLATFORM.includes(action)))(
    'has nothing too much: without $action (statement $statement) something fails',
    async ({ statement, action }) => {
      const less = [...pipeline, ...platform].map((one, index) =>
        index === statement ? { ...one, Action: one.Action.filter((each) => each !== action) } : one,
      );
      expect(await live(less)).toEqual(expect.any(String));
    },
  );

  it('lets AWS write its log and hand over what failed, to exactly these two', () => {
    expect(platform.filter(({ Action }) => Action.some((one) => OF_THE_PLATFORM.includes(one)))).toMatchObject([
      { Action: ['logs:CreateLogStream', 'logs:PutLogEvents'], Resource: ['arn:of:LogGroup'] },
      { Action: ['sqs:SendMessage'], Resource: ['arn:of:DeadLetterQueue'] },
    ]);
  });

  it('has a star in resources only behind the place that it is limited to', () => {
    for (const { Resource, Action } of [...pipeline, ...platform]) {
      for (const one of Resource)
        expect(one).toMatch(/^arn:(?:aws:(?:s3:::[a-z-]+(?:\/.*)?|kms:[^*]*key\/.+|lambda:[^*]+)|of:\w+)$/);
      for (const one of Action) expect(one).toMatch(/^[a-z0-9]+:[A-Za-z]+$/);
    }
    // What is a star in the pipeline's own prefix is none in the policy.
    expect(pipeline[0]?.Resource).toEqual([`arn:aws:s3:::lake/raw/$\{*}/*`]);
  });
});
