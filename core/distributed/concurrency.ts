/** MiB of a Lambda that have one processor core. Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html */
const CORE_MIB = 1769;
/** What a core carries in a second, measured (docs/performance.md): small items over a network, and bytes through TLS. */
const ITEMS = 1000;
const BYTES = 400e6;
/** What the network of a Lambda carries in a second, whatever its size. */
const NETWORK = 75e6;
/** Children do not all work at once: some begin, others are tried again. */
const SPARE = 1.25;

export interface Load {
  readonly shards: number;
  readonly items: number;
  readonly bytes: number;
}

/**
 * How many children should work at once: no more than it takes to make as many requests as may be made. Others would
 * only wait for their share of them, and waiting is charged as work is.
 */
export function concurrencyFor(
  { shards, items, bytes }: Load,
  { maxConcurrency, requestsPerSecond }: { readonly maxConcurrency: number; readonly requestsPerSecond: number },
  memoryMiB: number,
): number {
  const cores = Math.min(memoryMiB / CORE_MIB, 6);
  const itemBytes = bytes / Math.max(1, items);
  const perChild = 1 / (1 / (ITEMS * cores) + itemBytes / Math.min(NETWORK, BYTES * cores));
  const enough = Math.ceil((requestsPerSecond / perChild) * SPARE);
  return Math.max(1, Math.min(shards, maxConcurrency, enough));
}

/** A few shards that fail must not stop the others of a small run. */
const TOLERATED = 3;

/** How many percent of the shards may fail, in whole ones: so many, and three shards in any case, unless none may. */
export const toleratedOf = (shards: number, percent: number): number =>
  percent === 0 ? 0 : Math.min(100, Math.ceil(Math.max(percent, (100 * TOLERATED) / Math.max(1, shards))));

/**
 * Google's STS exchanges 6,000 tokens a minute for a project. An environment needs one, and keeps it for an hour; up to
 * half of a minute's quota may come at once, more are spread: 50 in a second.
 * Source: https://cloud.google.com/iam/quotas
 */
const TOKENS_AT_ONCE = 3000;
const TOKENS_PER_SECOND = 50;

/** Over how long new environments ask for their first token. */
export const spreadSeconds = (concurrency: number): number =>
  Math.max(0, (concurrency - TOKENS_AT_ONCE) / TOKENS_PER_SECOND);
