import { realpathSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { BrokerError } from '../api/errors.ts';
import type { Job } from '../engine/job.ts';

/** Something that a pipeline reads or writes: all names there begin with `place`. */
interface Used {
  readonly name: string;
  readonly place: string;
}

/** Refuses a pipeline that would read what it writes, or delete what it keeps. @throws BrokerError `invalid_config` */
export function refuseOverlaps({ pipeline, keys, sources, sinks, receipts, deadLetters, state, deletes }: Job): void {
  const used = (name: string, location: string, below = ''): Used => ({ name, place: realPlace(location) + below });
  const kept = Object.entries({ receipts, deadLetters }).flatMap(([name, sink]) =>
    sink === undefined ? [] : [used(name, sink.location, `${pipeline}/`)],
  );
  const written = [...sinks.map(({ location }) => used('sink', location)), ...kept];
  for (const source of sources.map(({ location }) => used('source', location)))
    for (const other of written)
      if (overlap(source, other))
        refuse(`source ${source.place} and ${other.name} ${other.place} overlap: endless copying`, other, source);
  if (deletes === undefined) return;
  // Its files are `<pipeline>.json`, and others that begin so.
  const own = state.location === undefined ? [] : [used('state', state.location, `${pipeline}.`)];
  const cleared = sinks.map(({ location }) => used('sink', location, keys?.prefix));
  for (const [number, sink] of cleared.entries())
    for (const other of [...cleared.slice(number + 1), ...kept, ...own])
      if (overlap(sink, other))
        refuse(
          `delete: sink ${sink.place} and ${other.name} ${other.place} overlap, and no source has what is there`,
          other,
          sink,
        );
}

function refuse(what: string, one: Used, other: Used): never {
  throw new BrokerError('invalid_config', what, { hint: `Give the ${one.name} a place outside of the ${other.name}.` });
}

const overlap = ({ place: one }: Used, { place: other }: Used): boolean =>
  !one.startsWith('memory:') && (one.startsWith(other) || other.startsWith(one));

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
