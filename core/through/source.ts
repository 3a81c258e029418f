import type { ByteStream } from '../api/bytes.ts';
import { BrokerError } from '../api/errors.ts';
import type { Item } from '../api/item.ts';
import type { JsonValue } from '../api/json.ts';
import type { Facts, ListOptions, OpenOptions, Source } from '../api/source.ts';
import { contentOf } from '../engine/content.ts';
import { Crc32cPool } from '../engine/crc32c.ts';
import { listed } from '../engine/select.ts';
import { type Passed, passed, type Steps } from './steps.ts';

/** Sorts right behind the key before it, so that what is beside an item is listed after it and in order. */
const BESIDE = '\0';
/** What is put beside an item is a line or two. */
const LARGEST_BESIDE = 64 * 1024;

/**
 * A source as the steps of a pipeline leave it. Items keep their keys here, so that the listing stays in order; the key
 * that they get is in `ref`, and `Steps.keyMap` gives it to the engine. What is read is checked against what the source
 * publishes before the steps have its last bytes.
 */
export function throughSource(inner: Source, steps: Steps): Source {
  const hashers = new Crc32cPool();
  let made = 0;
  let unchecked = 0;

  const passOn = (item: Item): Item => {
    const { item: described, left } = steps.describe(item);
    const told = { of: item, as: described.key, ...(left === undefined ? {} : { left }) };
    // A checksum beside it is of this version, and would be of no other.
    const exact = steps.besidesOf(item).length > 0;
    return withRef(exact ? { ...described, exact } : described, item.key, told);
  };

  const besides = (item: Item): Item[] => {
    const { item: described, left } = steps.describe(item);
    if (left !== undefined || described.problem !== undefined) return [];
    return steps.besidesOf(item).map((beside, place) => {
      const { size: _size, checksums: _checksums, ...rest } = described;
      const own: Item = {
        ...rest,
        id: `${item.id}${beside.suffix}`,
        headers: { contentType: beside.contentType },
        made: steps.besideMade(item, beside),
        exact: true,
      };
      const as = `${described.key}${beside.suffix}`;
      return withRef(own, `${item.key}${BESIDE}${place}`, { of: item, as, beside: place });
    });
  };

  async function* list({ after, ...options }: ListOptions): AsyncGenerator<Item> {
    const base = after?.split(BESIDE, 1)[0];
    // The cursor may stand between an item and what is beside it.
    if (after !== undefined && base !== undefined && steps.besides.length > 0)
      for await (const item of listed(inner, { ...options, only: { key: base } }))
        yield* besides(item).filter(({ key }) => key > after);
    for await (const item of inner.list({ ...options, ...(base === undefined ? {} : { after: base }) })) {
      yield passOn(item);
      yield* besides(item);
    }
  }

  /** Opened when the first step pulls: one that fails before has nothing to close. */
  async function* lazily(of: Item, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    yield* await contentOf(inner, of, { signal, hashers, onBytes: () => {} }).open();
  }
  const readThrough = (of: Item, signal: AbortSignal): AsyncIterable<Uint8Array> =>
    steps.bytes(lazily(of, signal), of, steps.describe(of).changed, signal);

  const open = async (item: Item, options: OpenOptions): Promise<ByteStream> => {
    const told = passed(item.ref);
    // What the source lists last goes past the steps.
    if (told === undefined) return inner.open(item, options);
    const { of, beside } = told;
    if (beside === undefined && item.made === undefined) return inner.open(of, options);
    const { signal, range } = options;
    if (range !== undefined) throw new BrokerError('internal', `${item.id}: what is made on the way has no ranges`);
    const stream = readThrough(of, signal);
    made++;
    if (of.checksums?.crc32c === undefined) unchecked++;
    if (beside === undefined) return stream;
    if (of.versioned === false) throw unversioned(of);
    const maker = steps.besides[beside];
    if (maker === undefined)
      throw new BrokerError('invalid_plan', `${item.id}: the pipeline has no such step any more`);
    // The engine has named it: by the template of the pipeline, if there is one.
    const own = item.key.endsWith(maker.suffix) ? item.key.slice(0, -maker.suffix.length) : undefined;
    const key = own ?? steps.describe(of).item.key;
    const content = await maker.content(stream, key, { signal });
    if (content.byteLength > LARGEST_BESIDE)
      throw new BrokerError('step_failed', `${item.id}: more than 64 KiB to put beside an item`);
    return [content] as unknown as ByteStream;
  };

  const stat = async (item: Item, options: { readonly signal: AbortSignal }): Promise<Item | undefined> => {
    const told = passed(item.ref);
    const now = await inner.stat?.(told?.of ?? item, options);
    if (now === undefined || told === undefined) return now;
    return told.beside === undefined ? passOn(now) : besides(now)[told.beside];
  };

  const originalOf = (item: Item): Item => passed(item.ref)?.of ?? item;

  return {
    ...rest(inner),
    location: inner.location,
    list,
    open,
    ...(inner.stat === undefined ? {} : { stat }),
    ...(inner.remove === undefined
      ? {}
      : { remove: async (item: Item, options: { signal: AbortSignal }) => inner.remove?.(originalOf(item), options) }),
    ...(inner.estimate === undefined
      ? {}
      : { estimate: (item, reads) => inner.estimate?.(originalOf(item), reads) ?? { requests: {} } }),
    facts: () => {
      const own = inner.facts?.();
      return made === 0 ? own : { ...own, ...proofOf(steps, made, unchecked) };
    },
    [Symbol.asyncDispose]: async () => inner[Symbol.asyncDispose]?.(),
  };
}

/** Read once more it may be another, and the checksum that of what is not stored. */
const unversioned = ({ id }: Item): BrokerError =>
  new BrokerError(
    'unverifiable',
    `${id}: its server tells no version of it, so what is made beside it may be of another`,
    {
      hint: 'Name its sha256 in urls, or leave the step out.',
    },
  );

const withRef = (item: Item, key: string, through: Passed): Item => ({
  ...item,
  key,
  ref: { through: through as unknown as JsonValue },
});

/** What of a source the steps do not touch, bound to it. */
function rest(inner: Source): Partial<Source> {
  const { transient, portable, seeks, ranges } = inner;
  return {
    ...(transient === undefined ? {} : { transient }),
    ...(portable === undefined ? {} : { portable }),
    // A cursor between an item and what is beside it costs a request more.
    ...(seeks === undefined ? {} : { seeks }),
    ...(ranges === undefined ? {} : { ranges }),
    ...(inner.selects && { selects: inner.selects.bind(inner) }),
    ...(inner.last && { last: inner.last.bind(inner) }),
    ...(inner.failures && { failures: inner.failures.bind(inner) }),
    ...(inner.keyOf && { keyOf: inner.keyOf.bind(inner) }),
    ...(inner.check && { check: inner.check.bind(inner) }),
    ...(inner.finish && { finish: inner.finish.bind(inner) }),
  };
}

/** Which proof there is in place of the one that passes through. */
function proofOf(steps: Steps, made: number, unchecked: number): Facts {
  const checked = made - unchecked;
  const read =
    unchecked === 0
      ? 'what was read was compared with the checksum of the source'
      : `what was read was compared with the checksum of the source for ${checked} of them, with its size for ${unchecked}`;
  return {
    steps: steps.all.map(({ name }) => name).join(', '),
    made,
    proof: `not the checksum of the source, since the bytes are others: ${read}, and the sink has confirmed the checksum of what was made of it`,
  };
}
