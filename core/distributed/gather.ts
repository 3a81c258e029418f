import { z } from 'zod';
import { ahead } from '../api/ahead.ts';
import { BrokerError } from '../api/errors.ts';
import { rangesIn } from './begin.ts';
import { layoutOf, type Phase } from './context.ts';
import { doneIn, isCarried } from './done.ts';
import type { Files } from './files.ts';
import type { Head } from './head.ts';
import { type Listing, listingOf } from './list.ts';
import { type Shard, shardOf, shardsIn } from './manifest.ts';

const count = z.number().int().nonnegative();
const summarySpec = z.object({
  /** Lines of the manifest. */
  shards: count,
  /** Actions in them, and bytes to be carried. */
  items: count,
  bytes: count,
  /** What needed no action. */
  unchanged: count,
  left: count,
  /** By sink; absent where nothing is deleted. */
  extras: z.array(z.strictObject({ found: count, of: count })).exactOptional(),
});

/** What a plan adds up to. */
export type Summary = z.output<typeof summarySpec>;

export async function summaryOf(phase: Phase, { runId }: Head, attempt: number): Promise<Summary | undefined> {
  const { files, runtime } = phase;
  return await files.json(layoutOf(phase, runId).summary(attempt), summarySpec, runtime.signal);
}

/** Makes the manifest that Step Functions reads. Called again it finds what it did. */
export async function gather(phase: Phase, head: Head): Promise<Summary> {
  const before = await summaryOf(phase, head, head.attempt);
  if (before !== undefined) return before;
  return head.attempt === 1 ? await gatherListings(phase, head) : await gatherFailures(phase, head);
}

/** Puts the lines of all ranges one after the other. */
async function gatherListings(phase: Phase, head: Head): Promise<Summary> {
  const { job, files, runtime } = phase;
  const { signal } = runtime;
  const layout = layoutOf(phase, head.runId);
  const listings: Listing[] = [];
  for (const [number] of ((await rangesIn(phase, head)) ?? []).entries()) {
    const saved = await job.state.load(layout.listing(number), { signal });
    const listing = listingOf(saved?.value ?? {});
    if (!listing.ended) {
      // Another one that does the same has put them together meanwhile.
      const other = await summaryOf(phase, head, 1);
      if (other !== undefined) return other;
      throw new BrokerError('not_carried', `range ${number} was not listed to its end`);
    }
    listings.push(listing);
  }
  const parts = listings.flatMap((listing) => listing.parts);
  const lines = async function* (wanted: (shard: Shard) => boolean, tell?: (shard: Shard) => void) {
    // Small files, and many: read some ahead.
    const read = ahead(inTurn(parts), PARTS_AT_ONCE, (part) => linesIn(files, layout.part(part), signal));
    for await (const texts of read)
      for (const text of texts) {
        const shard = shardOf(text, 'a part of the manifest');
        if (!wanted(shard)) continue;
        tell?.(shard);
        yield `${text}\n`;
      }
  };
  const sums = new Sums();
  await files.write(
    layout.manifest(1),
    () =>
      inChunks(
        lines(
          (one) => one.extra !== true,
          (one) => sums.add(one),
        ),
      ),
    signal,
  );
  if (job.deletes !== undefined)
    await files.write(layout.deletes, () => inChunks(lines((one) => one.extra === true)), signal);
  const total = (of: (listing: Listing) => number): number => listings.reduce((sum, one) => sum + of(one), 0);
  const extras = job.sinks.map((_, sink) => ({
    found: total((listing) => listing.extras[sink]?.found ?? 0),
    of: total((listing) => listing.extras[sink]?.of ?? 0),
  }));
  const summary = {
    ...sums.all,
    unchanged: total(({ unchanged }) => unchanged),
    left: total(({ left }) => left),
    ...(job.deletes === undefined ? {} : { extras }),
  };
  await files.write(layout.summary(1), JSON.stringify(summary), signal);
  // What they say is in the manifest now.
  for (const [number] of listings.entries()) await job.state.reset(layout.listing(number), { signal });
  return summary;
}

/** Takes from the manifest of the whole what was not carried so far. */
async function gatherFailures(phase: Phase, head: Head): Promise<Summary> {
  const { files, runtime } = phase;
  const { signal } = runtime;
  const layout = layoutOf(phase, head.runId);
  const whole = await summaryOf(phase, head, 1);
  if (whole === undefined)
    throw new BrokerError('superseded', `run ${head.runId} was not planned to its end`, {
      hint: 'Start the state machine without an input: it compares everything anew.',
    });
  const done = await doneIn(phase, head, head.attempt - 1);
  const sums = new Sums();
  const lines = async function* (): AsyncGenerator<string> {
    for await (const shard of shardsIn(files, layout.manifest(1), signal)) {
      if (isCarried(shard, done)) continue;
      sums.add(shard);
      yield `${JSON.stringify(shard)}\n`;
    }
  };
  await files.write(layout.manifest(head.attempt), () => inChunks(lines()), signal);
  const summary = { ...sums.all, unchanged: 0, left: 0 };
  await files.write(layout.summary(head.attempt), JSON.stringify(summary), signal);
  return summary;
}

class Sums {
  #shards = 0;
  #items = 0;
  #bytes = 0;

  add({ items, bytes, piece }: Shard): void {
    this.#shards++;
    // An item in pieces is one item.
    this.#items += piece === undefined || piece.start === 0 ? items : 0;
    this.#bytes += bytes;
  }

  get all(): Pick<Summary, 'shards' | 'items' | 'bytes'> {
    return { shards: this.#shards, items: this.#items, bytes: this.#bytes };
  }
}

async function* inTurn<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

async function linesIn(files: Files, key: string, signal: AbortSignal): Promise<readonly string[]> {
  const texts: string[] = [];
  for await (const { text } of files.lines(key, signal)) texts.push(text);
  return texts;
}

const PARTS_AT_ONCE = 16;
const CHUNK = 64 * 1024;

async function* inChunks(lines: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  let text = '';
  for await (const line of lines) {
    text += line;
    if (text.length < CHUNK) continue;
    yield Buffer.from(text);
    text = '';
  }
  if (text !== '') yield Buffer.from(text);
}
