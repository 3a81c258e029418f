import type { JsonValue } from '../../../core/api/index.ts';
import type { GcsBucket } from '../../cloud/gcs-objects.ts';
import { LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../../cloud/local-cloud.ts';
import type { S3Bucket } from '../../cloud/s3-objects.ts';
import { distributed } from '../../distributed/driver.ts';
import { type Answer, type Engine, type Execution, startEngine } from './engine.ts';
import { type Deployed, deploy, type Programs } from './function.ts';

export interface WorldPrograms extends Programs {
  /** A Python that has moto. */
  readonly python: string;
}

export interface World extends AsyncDisposable {
  readonly cloud: LocalCloud;
  readonly source: GcsBucket;
  readonly sink: S3Bucket;
  readonly deployed: Deployed;
  readonly engine: Engine;
  /** Decides what becomes of an invocation; by default it is carried out. */
  meddle: (event: Phase, carry: Deployed['invoke']) => Promise<Answer>;
  run(input?: object): Promise<Execution>;
}

export interface Phase {
  readonly distributed: { readonly phase: string; readonly shards?: readonly { readonly shard: string }[] };
}

export async function world(
  { python, ...programs }: WorldPrograms,
  shares: Record<string, JsonValue> = {},
): Promise<World> {
  const cloud = await localCloud();
  const source = cloud.gcs.bucket('exports', [LOCAL_SERVICE_ACCOUNT]);
  const sink = cloud.s3.bucket('lake');
  cloud.s3.bucket('state');
  const engine = await startEngine({
    python,
    cloud,
    invoke: (event) => made.meddle(event as unknown as Phase, deployed.invoke),
  });
  const endpoints = { ...JSON.parse(cloud.environment.ISTHMUS_ENDPOINTS ?? '{}'), stepFunctions: engine.url };
  const environment = {
    ...cloud.environment,
    ISTHMUS_ENDPOINTS: JSON.stringify(endpoints),
    // A function that is killed holds what it held for a second only.
    ISTHMUS_LEASE: '1',
  };
  const deployed = await deploy(programs, distributed({}, shares), environment);
  const made: Omit<World, typeof Symbol.asyncDispose> = {
    cloud,
    source,
    sink,
    deployed,
    engine,
    meddle: (event, carry) => carry(event),
    run: (input) => engine.run(deployed.definition, input),
  };
  return Object.assign(made, {
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await deployed[Symbol.asyncDispose]();
      await cloud[Symbol.asyncDispose]();
    },
  });
}

/** Puts so many objects into the source. */
export function fill({ source }: World, count: number): void {
  for (let index = 0; index < count; index++) source.put(nameOf(index), `object ${index}`);
}

export const nameOf = (index: number): string => `2026/${String(index).padStart(6, '0')}`;

/** Objects that are not in the sink as they are in the source. */
export function different({ source, sink }: World, count: number): string[] {
  const names = Array.from({ length: count }, (_, index) => nameOf(index));
  return names.filter((name) => {
    const [from, to] = [source.get(name), sink.objects.get(`raw/${name.slice(5)}`)];
    return to === undefined || from === undefined || to.checksums.crc32c !== from.crc32c;
  });
}

/** The history as a person would tell it: how many states of each kind, and what became of the children. */
export const summary = ({ events, items }: Execution): string => {
  const entered = events.filter(({ type }) => /^(?:Task|Map|Choice|Pass)StateEntered$/.test(type));
  const counts = Object.entries(Object.groupBy(entered, ({ type }) => type.replace('StateEntered', '')));
  const states = counts.map(([type, all]) => `${all?.length} ${type}`).join(', ');
  const told = items && Object.entries(items).filter(([name, count]) => count > 0 && name !== 'resultsWritten');
  const children = told?.map(([name, count]) => `${count} ${name}`).join(', ') ?? 'no Map Run: nothing to do';
  return `${events.length} events, states entered: ${states}; children: ${children}`;
};
