import { realpathSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { BrokerError } from '../api/errors.ts';
import type { Job } from '../engine/job.ts';

/** Refuses a pipeline that would read what it writes, or delete what it keeps. @throws BrokerError `invalid_config` */
export function refuseOverlaps(job: Job): void {
  const { pipeline, sources, sinks, receipts, deadLetters, state, deletes } = job;
  const kept = Object.entries({ receipts, deadLetters }).flatMap(([name, sink]) =>
    sink === undefined ? [] : [{ name, location: `${sink.location}${pipeline}/` }],
  );
  const written = [...sinks.map(({ location }) => ({ name: 'sink', location })), ...kept];
  for (const { location: source } of sources)
    for (const { name, location } of written)
      if (overlap(source, location))
        refuse(`source ${source} and ${name} ${location} overlap: endless copying`, name, 'the source');
  if (deletes === undefined) return;
  // Its files are `<pipeline>.json`, and others that begin so.
  const own = state.location === undefined ? [] : [{ name: 'state', location: `${state.location}${pipeline}.` }];
  for (const [number, { location: sink }] of sinks.entries()) {
    const others = sinks.slice(number + 1).map(({ location }) => ({ name: 'sink', location }));
    for (const { name, location } of [...others, ...kept, ...own])
      if (overlap(sink, location) && mayBeOurs(job, sink, location))
        refuse(
          `delete: sink ${sink} and ${name} ${location} overlap, and no source has what is there`,
          name,
          'the sink',
        );
  }
}

function refuse(what: string, name: string, other: string): never {
  throw new BrokerError('invalid_config', what, { hint: `Give the ${name} a place outside of ${other}.` });
}

/** Whether what is kept below a sink looks like something that the pipeline could have written there. */
function mayBeOurs({ keys, filter }: Job, sink: string, location: string): boolean {
  if (!location.startsWith(sink)) return true;
  const name = `${location.slice(sink.length)}any`;
  const key = keys === undefined ? name : keys.sourceKey?.(name);
  return key !== undefined && filter?.key(key) !== false;
}

function overlap(one: string, other: string): boolean {
  const [first, second] = [realPlace(one), realPlace(other)];
  if (first.startsWith('memory:')) return false;
  return first.startsWith(second) || second.startsWith(first);
}

/** Where a folder really is, links followed as far as it is there. */
function realPlace(location: string): string {
  if (!location.startsWith('file://')) return location;
  const path = location.slice('file://'.length);
  for (let at = path; ; at = dirname(at)) {
    try {
      return `file://${join(realpathSync(at), relative(at, path))}/`;
    } catch {
      if (at === dirname(at)) return location;
    }
  }
}
