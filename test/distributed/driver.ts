import { randomUUID } from 'node:crypto';
import type { JsonValue } from '../../core/api/index.ts';
import type { Shard } from '../../core/distributed/manifest.ts';
import type { S3Bucket } from '../cloud/s3-objects.ts';
import { pipelineData, type TestFunction } from '../lambda/function.ts';

export type Json = Record<string, unknown>;

/** A function, or several: whoever is asked next. */
export type Invoke = (event: Json) => Promise<Json>;

export interface Execution {
  readonly execution: string;
  readonly plan: Json;
  readonly gathered: Json | undefined;
  readonly children: readonly Json[];
  readonly finished: Json;
}

export interface Drive {
  readonly input?: Json;
  readonly execution?: string;
  readonly started?: string;
  /** In place of the child: it may fail, come twice, or not at all. */
  readonly child?: (shard: Shard, carry: (more?: Json) => Promise<Json>, place: number) => Promise<Json | undefined>;
  /** Called between the phases. */
  readonly between?: (phase: string, plan: Json) => Promise<void> | void;
}

export const arn = (): string => `arn:test:execution:${randomUUID()}`;

/** The small pipeline of these tests: shards of a few items, large items above a few parts. */
export function distributed(more: Json = {}, shares: Json = {}): JsonValue {
  const { push: _, ...data } = pipelineData() as Readonly<Record<string, JsonValue>>;
  const deploy = { distributed: { shardItems: 10, shardBytes: '16MiB', ...shares } };
  return { ...data, deploy, ...more } as JsonValue;
}

/** What the state machine does, state by state: the machine itself is run by a real engine in the compat tests. */
export async function drive(fn: Pick<TestFunction, 'invoke' | 'state'>, options: Drive = {}): Promise<Execution> {
  const { input = {}, execution = arn(), started = '2026-11-26T09:00:00Z', child, between = () => {} } = options;
  const ask = async (event: Json): Promise<Json> => await fn.invoke({ distributed: event });
  let plan: Json = {};
  let gathered: Json | undefined;
  const children: Json[] = [];
  let failure: Json | undefined;
  try {
    plan = await repeated(() => ask({ phase: 'plan', execution, started, input }));
    if (plan.outcome === 'ignored') return { execution, plan, gathered, children, finished: plan };
    const { run, attempt } = plan;
    await between('plan', plan);
    for (const range of plan.ranges as number[]) await repeated(() => ask({ phase: 'list', run, attempt, range }));
    await between('list', plan);
    gathered = await ask({ phase: 'gather', run, attempt });
    await between('gather', plan);
    const shards = manifestOf(fn, plan);
    let failed = 0;
    for (const [place, shard] of shards.entries()) {
      const carry = (more: Json = {}): Promise<Json> =>
        repeated((before) =>
          ask({
            phase: 'transfer',
            run,
            attempt,
            concurrency: gathered?.concurrency,
            retry: 0,
            before: before?.done ?? -1,
            shards: [shard],
            ...more,
          }),
        );
      try {
        const answer = child === undefined ? await carry() : await child(shard, carry, place);
        if (answer !== undefined) children.push(answer);
      } catch {
        if ((++failed * 100) / shards.length > Number(gathered?.toleratedPercent)) throw new ToleratedFailureExceeded();
      }
    }
    await between('transfer', plan);
  } catch (thrown) {
    const { name, message } = thrown as Error;
    failure = { Error: name, Cause: JSON.stringify({ errorType: name, errorMessage: message }) };
  }
  const finished = await repeated(() => ask({ phase: 'finish', execution, started, plan, failure }));
  return { execution, plan, gathered, children, finished };
}

class ToleratedFailureExceeded extends Error {
  override readonly name = 'States.ExceedToleratedFailureThreshold';
}

export function manifestOf({ state }: Pick<TestFunction, 'state'>, plan: Json): Shard[] {
  const { key } = plan.manifest as { readonly key: string };
  return linesIn(state, key).map((line) => JSON.parse(line) as Shard);
}

async function repeated(ask: (before: Json | undefined) => Promise<Json>): Promise<Json> {
  for (let before: Json | undefined, times = 0; ; times++) {
    const answer = await ask(before);
    if (answer.outcome !== 'paused' || times > 200) return answer;
    before = answer;
  }
}

/** The lines of a file in a bucket. */
export const linesIn = (bucket: S3Bucket, key: string): string[] =>
  Buffer.concat(bucket.objects.get(key)?.chunks ?? [])
    .toString()
    .split('\n')
    .filter(Boolean);
