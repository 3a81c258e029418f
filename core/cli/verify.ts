import { randomUUID } from 'node:crypto';
import { BrokerError } from '../api/errors.ts';
import type { RunContext } from '../api/source.ts';
import { visible } from '../api/text.ts';
import { Crc32cPool } from '../engine/crc32c.ts';
import { contextsOf } from '../engine/job.ts';
import { runsAtOnce } from '../engine/slots.ts';
import { type Finding, verify } from '../engine/verify.ts';
import type { JobFactory } from '../runtime/job.ts';
import { opened } from './opened.ts';
import { EXIT, type Output } from './output.ts';
import type { RunFlags } from './run.ts';

export interface VerifyFlags extends RunFlags {
  readonly csv?: boolean;
  readonly extras?: boolean;
  readonly deep?: boolean;
}

/** One JSON document must have an end. */
const MOST_FINDINGS = 1000;

/** `isthmus verify`: whether both sides are the same, by size and checksum, or by reading; writes nothing. */
export async function verifyCommand(
  file: string,
  flags: VerifyFlags,
  jobs: JobFactory,
  output: Output,
): Promise<number> {
  await using looked = await opened(file, flags, jobs, output);
  const { open, job, signal } = looked;
  open.credentials.warm();
  const notCompared = job.sources.filter(({ transient }) => transient === true).map(({ location }) => location);
  if (notCompared.length === job.sources.length || (notCompared.length > 0 && flags.extras === true))
    throw new BrokerError('invalid_config', `what ${notCompared.join(' and ')} gives is made by each run`, {
      hint: 'It was proved when it was written. Verify pipelines of files, without --extras where there is such a source, too.',
    });
  const unlisted = job.sinks.find(({ list }) => list === undefined);
  if (flags.extras === true && unlisted !== undefined)
    throw new BrokerError('invalid_config', `${unlisted.location} cannot be listed`, { hint: 'Leave --extras out.' });
  if (flags.extras === true && job.keys !== undefined && job.keys.sourceKey === undefined)
    throw new BrokerError('invalid_config', 'whose a key is cannot be told from it: the template is not one to one', {
      hint: 'Leave --extras out, or use a template that holds {key}.',
    });
  const counts = { same: 0, missing: 0, different: 0, unproved: 0, refused: 0, extra: 0 };
  const findings: (Omit<Finding, 'sink' | 'source'> & { readonly sink: string })[] = [];
  // What a source would have to make first is not made in order to be compared.
  const contexts = contextsOf(job, { runId: randomUUID(), purpose: 'survey', begins: async () => {} });
  const run = (source: number): RunContext => contexts[source] as RunContext;
  const unread = job.sinks.find(({ read }) => read === undefined);
  if (flags.deep === true && unread !== undefined)
    throw new BrokerError('invalid_config', `${unread.location} cannot be read`, { hint: 'Leave --deep out.' });
  if (flags.csv === true) output.out('finding,key,sink,bytes,reason');
  const deep = flags.deep === true ? { hashers: new Crc32cPool(), concurrency: runsAtOnce(job) } : undefined;
  const since = looked.now();
  let leftOut = 0;
  const left = (): void => void leftOut++;
  for await (const found of verify({ ...job, run, signal, since, extras: flags.extras === true, deep, left })) {
    counts[found?.finding ?? 'same']++;
    if (found === undefined) continue;
    const { sink: number, source: _, ...rest } = found;
    const one = { ...rest, sink: job.sinks[number]?.location ?? '' };
    if (flags.json === true && findings.length < MOST_FINDINGS) findings.push(one);
    else if (flags.csv === true) output.out(csvLine(one));
    else if (flags.json !== true) output.out(line(one, job.sinks.length > 1));
  }
  const { same, ...wrong } = counts;
  const all = Object.values(wrong).reduce((sum, count) => sum + count, 0);
  if (flags.json === true) {
    const omitted = all > findings.length ? { findingsOmitted: all - findings.length } : {};
    output.out(JSON.stringify({ pipeline: job.pipeline, counts, leftOut, findings, ...omitted, notCompared }));
  } else {
    for (const location of notCompared) output.err(`not compared: ${visible(location)}: each run makes it anew`);
  }
  if (flags.json !== true && flags.csv !== true) {
    const told = Object.entries(wrong).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
    output.out(
      `${visible(job.pipeline)}: ${[`${same} the same`, ...told, ...(leftOut > 0 ? [`${leftOut} left out`] : [])].join(', ')}`,
    );
  }
  return all === 0 ? EXIT.complete : EXIT.partial;
}

type Shown = Pick<Finding, 'finding' | 'key' | 'reason' | 'bytes'> & { readonly sink: string };

const line = ({ finding, key, reason, sink }: Shown, several: boolean): string =>
  `${finding.padEnd(9)}  ${visible(key)}${several ? ` → ${visible(sink)}` : ''}  (${visible(reason)})`;

const csvLine = ({ finding, key, sink, bytes, reason }: Shown): string =>
  [finding, key, sink, bytes === undefined ? '' : String(bytes), reason].map(csvField).join(',');

/** As RFC 4180 has it; safe to show, and no formula for a spreadsheet. */
const csvField = (text: string): string => {
  const safe = visible(text).replace(/^[=+\-@]/, "'$&");
  return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
