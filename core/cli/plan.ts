import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { RunContext } from '../api/source.ts';
import { formatBytes, visible } from '../api/text.ts';
import { deletion, type ExtrasCount, guard, withExtras } from '../engine/extras.ts';
import { contextsOf, detailsOf, type Job } from '../engine/job.ts';
import { type Action, plan, type Step } from '../engine/plan.ts';
import { actionLine, planHeader } from '../engine/plan-file.ts';
import { type PlanTotals, Totals } from '../engine/totals.ts';
import type { JobFactory } from '../runtime/job.ts';
import { opened } from './opened.ts';
import { detailLines, EXIT, type Output } from './output.ts';
import type { RunFlags } from './run.ts';

export interface PlanFlags extends RunFlags {
  /** A file that `apply` carries out. */
  readonly out?: string;
}

/** `isthmus plan`: what a run would do, with reasons, bytes, requests and cost; writes nothing to a sink. */
export async function planCommand(file: string, flags: PlanFlags, jobs: JobFactory, output: Output): Promise<number> {
  await using looked = await opened(file, flags, jobs, output);
  const { open, job, now, signal } = looked;
  open.credentials.warm();
  const contexts = contextsOf(job, { runId: randomUUID(), purpose: 'plan', begins: async () => {} });
  const context = { run: (source: number) => contexts[source] as RunContext, signal };
  const totals = new Totals(job);
  const extras: ExtrasCount[] = [];
  await using saved = flags.out === undefined ? undefined : new PlanWriter(flags.out);
  const from = flags.out === undefined ? {} : { file: relative(dirname(resolve(flags.out)), resolve(file)) };
  await saved?.line({ ...planHeader(job, 'plan', now()), ...from });
  const many = job.sinks.length > 1;
  for await (const { actions } of allSteps(job, { ...context, since: now(), extras })) {
    for (const action of actions) {
      totals.add(action);
      if (saved !== undefined) await saved.line(actionLine(action));
      // What is saved can be read there.
      else if (flags.json !== true) output.out(line(action, many ? (job.sinks[action.sink]?.location ?? '') : ''));
    }
  }
  const { all } = totals;
  const lines = Object.values(all.actions).reduce((sum, count) => sum + count, 0);
  await saved?.end({ end: lines, ...(job.deletes === undefined ? {} : { extras: extras.map((one) => ({ ...one })) }) });
  const stops = guarded(job, extras);
  const details = detailsOf(job.sources);
  if (flags.json === true) {
    const told = {
      pipeline: job.pipeline,
      ...(job.move === true ? { move: true } : {}),
      ...all,
      ...(flags.out === undefined ? {} : { out: flags.out }),
      ...details,
    };
    output.out(JSON.stringify(stops === undefined ? told : { ...told, stops: stops.message }));
  } else {
    for (const one of detailLines(details.details)) output.out(one);
    for (const one of totalLines(all)) output.out(one);
    if (job.move === true)
      output.out('move: what every sink has proved is deleted in its source, unchanged items, too');
    if (all.actions.refuse > 0 && all.actions.delete > 0)
      output.out('a run would delete nothing in the sinks as long as items are refused');
    if (flags.out !== undefined) output.out(`saved to ${flags.out}; carry it out with: isthmus apply ${flags.out}`);
    if (stops !== undefined) output.out(`a run would stop before the first delete: ${stops.message}\n  ${stops.hint}`);
  }
  return all.actions.refuse > 0 || stops !== undefined ? EXIT.partial : EXIT.complete;
}

interface AllOptions {
  readonly run: (source: number) => RunContext;
  readonly signal: AbortSignal;
  readonly since: number;
  /** Filled with what would be deleted, by sink. */
  readonly extras: ExtrasCount[];
}

/** What a run would do, in its order: items first, then deletes. */
function allSteps(job: Job, options: AllOptions): AsyncIterable<Step> {
  const items = plan({ ...job, ...options });
  return job.deletes === undefined ? items : withDeletes(items, job, options);
}

async function* withDeletes(
  items: AsyncIterable<Step>,
  job: Job,
  { extras, ...context }: AllOptions,
): AsyncGenerator<Step> {
  yield* items;
  for (const [number, sink] of job.sinks.entries()) {
    let [found, of] = [0, 0];
    for await (const { stored, extra } of withExtras({ ...job, ...context }, number)) {
      of++;
      if (!extra) continue;
      found++;
      yield { key: stored.key, actions: [deletion(stored, number, sink.location)] };
    }
    extras.push({ found, of });
  }
}

function guarded({ deletes, sinks }: Job, extras: readonly ExtrasCount[]): BrokerError | undefined {
  if (deletes === undefined) return undefined;
  try {
    for (const [number, count] of extras.entries()) guard(deletes, count, sinks[number]?.location ?? '');
    return undefined;
  } catch (thrown) {
    return asBrokerError(thrown);
  }
}

function totalLines({ actions, bytes, requests, costUsd }: PlanTotals): string[] {
  const { create, update, skip, refuse, delete: deletes } = actions;
  const gone = deletes > 0 ? `, ${deletes} to delete` : '';
  const first = `${create} to create, ${update} to update, ${skip} unchanged or left out, ${refuse} refused${gone}; ${formatBytes(bytes)} to carry`;
  const told = Object.entries(requests).map(([name, count]) => `${count} ${name}`);
  if (told.length === 0) return [first];
  return [first, `requests: ${told.join(', ')}; about ${costUsd} USD by the public prices, listing not included`];
}

const line = ({ action, item, from, reason }: Action, sink: string): string => {
  const size = item.size === undefined ? '?' : formatBytes(item.size);
  const name = from === undefined ? visible(item.key) : `${visible(from)} as ${visible(item.key)}`;
  const where = sink === '' ? '' : ` → ${visible(sink)}`;
  return `${action.padEnd(7)} ${size.padStart(10)}  ${name}${where}  (${visible(reason)})`;
};

/** Writes lines to a file that appears when it is whole. */
class PlanWriter implements AsyncDisposable {
  readonly #path: string;
  readonly #temporary: string;
  readonly #stream;
  #failed: Error | undefined;
  #whole = false;

  constructor(path: string) {
    this.#path = path;
    this.#temporary = `${path}.${randomUUID()}.tmp`;
    this.#stream = createWriteStream(this.#temporary, { flags: 'wx', mode: 0o600, highWaterMark: 2 ** 18 });
    this.#stream.on('error', (error) => {
      this.#failed = error;
    });
  }

  async line(value: { readonly [name: string]: JsonValue }): Promise<void> {
    if (this.#failed !== undefined) throw this.#failure(this.#failed);
    if (!this.#stream.write(`${JSON.stringify(value)}\n`) && !this.#stream.destroyed)
      await once(this.#stream, 'drain').catch((error: unknown) => {
        throw this.#failure(error);
      });
  }

  async end(value: { readonly [name: string]: JsonValue }): Promise<void> {
    await this.line(value);
    this.#stream.end();
    // Only then is the last of it written.
    await finished(this.#stream).catch((error: unknown) => {
      throw this.#failure(error);
    });
    await rename(this.#temporary, this.#path);
    this.#whole = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#whole) return;
    this.#stream.destroy();
    await rm(this.#temporary, { force: true });
  }

  #failure(error: unknown): BrokerError {
    const { code = 'it cannot be written' } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') return new BrokerError('disk_full', `${this.#path}: ${code}`);
    return new BrokerError('invalid_config', `${this.#path}: ${code}`, {
      hint: 'Name a file that can be written: --out.',
    });
  }
}
