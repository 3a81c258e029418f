/**
 * What a distributed run takes at a scale that no machine of ours has: children begin, work and end one after the other
 * in simulated time, under the limits of the clouds. What a child needs was measured (docs/performance.md); what the
 * clouds allow and charge is theirs. It is a model: nothing of it was run on AWS.
 */

import { concurrencyFor } from '../../core/distributed/concurrency.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Measured here: seconds of one processor core, over TLS, every byte compared. `npm run bench`, `bench:distributed`. */
export const MEASURED = {
  /** Of an object of 4 KiB. */
  cpuPerItem: 0.000_206,
  cpuPerGiB: 1.31,
  /** Objects that one core lists, compares and writes as lines of shards in a second. */
  plannedPerSecond: 90_000,
} as const;

/** A Lambda of 256 MiB. Sources: docs/performance.md and https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html */
export const LAMBDA = {
  memoryGiB: 0.25,
  /** 1,769 MiB are one core, which is taken to be half as fast as the one that was measured. */
  cores: 256 / 1769 / 2,
  bytesPerSecond: 75e6,
  /** Beside the items: reading its shard, saying what became of it, and what Step Functions and a start take. */
  childSeconds: 0.6,
} as const;

/** In a second. Sources: docs/distributed.md. */
export const LIMITS = {
  /** Standard child executions of one Map Run that begin. */
  dispatched: 100,
  /** Of S3, for a prefix, at first. */
  puts: 3500,
  /** Of Cloud Storage, for a bucket, at first. */
  gets: 5000,
  /** New environments of one function: 1,000 in ten seconds. */
  environments: 100,
  ranges: 40,
  /** Small files that `finish` reads. */
  finished: 2500,
} as const;

/** In US dollars, in us-east-1, without discounts and free tiers. */
export const PRICES = {
  put: 0.005 / 1000,
  get: 0.0004 / 1000,
  gcsList: 0.005 / 1000,
  gcsGet: 0.0004 / 1000,
  gibSecond: 0.000_013_333_4,
  invocation: 0.2 / 1e6,
  transition: 0.025 / 1000,
  dataSyncGiB: 0.015 * (GIB / 1e9),
  dataSyncRun: 0.55,
} as const;

export interface Work {
  readonly name: string;
  readonly items: number;
  readonly itemBytes: number;
}

export interface Shares {
  /** Of Cloud Storage, in a second. */
  readonly reads: number;
  readonly shardItems: number;
  readonly shardBytes: number;
  readonly maxConcurrency: number;
  readonly requestsPerSecond: number;
}

export const DEFAULTS: Shares = {
  shardItems: 5000,
  shardBytes: 4 * GIB,
  maxConcurrency: 200,
  requestsPerSecond: LIMITS.puts,
  reads: LIMITS.gets,
};

export interface Scaled {
  readonly shards: number;
  readonly puts: number;
  readonly listCalls: number;
  readonly planSeconds: number;
  readonly transferSeconds: number;
  readonly finishSeconds: number;
  readonly busiestChildren: number;
  /** Of Step Functions alone: transitions of the children. */
  readonly transitions: number;
  readonly putsPerSecond: number;
  readonly gibPerSecond: number;
  /** What every way to copy pays: to S3 and Cloud Storage, for requests. */
  readonly requestsUsd: Readonly<Record<string, number>>;
  /** What this way takes for moving it. */
  readonly movingUsd: Readonly<Record<string, number>>;
  /** What limits the transfer. */
  readonly limit: string;
}

/** What one child carries. */
interface Child {
  readonly items: number;
  readonly puts: number;
  readonly gets: number;
  /** When nothing holds it back. */
  readonly seconds: number;
}

function childrenOf({ items, itemBytes }: Work, { shardItems, shardBytes }: Shares): { child: Child; count: number } {
  const perItem = MEASURED.cpuPerItem / LAMBDA.cores;
  const perByte = Math.max(1 / LAMBDA.bytesPerSecond, MEASURED.cpuPerGiB / LAMBDA.cores / GIB);
  const isLarge = itemBytes > shardBytes;
  const pieces = isLarge ? Math.ceil(itemBytes / shardBytes) : 1;
  const each = isLarge ? 1 : Math.max(1, Math.min(shardItems, Math.ceil(shardBytes / itemBytes)));
  const bytes = isLarge ? itemBytes / pieces : each * itemBytes;
  const parts = itemBytes > 64 * MIB ? Math.ceil(bytes / (64 * MIB)) + each * 2 : each;
  const count = isLarge ? items * pieces : Math.ceil(items / each);
  const gets = itemBytes > 64 * MIB ? Math.ceil(bytes / (64 * MIB)) * each : each;
  return {
    child: { items: each, puts: parts, gets, seconds: LAMBDA.childSeconds + each * perItem + bytes * perByte },
    count,
  };
}

/** What a child takes with its share of the requests. */
const secondsOf = ({ seconds, puts, gets }: Child, { requestsPerSecond, reads }: Shares, concurrency: number): number =>
  Math.max(seconds, puts / (requestsPerSecond / concurrency), gets / (reads / concurrency));

/** Children begin as they may, and end; the answer is when the last one did, and how many there were at most. */
function simulate(
  child: Child,
  count: number,
  shares: Shares,
  concurrency: number,
): { seconds: number; busiest: number } {
  const seconds = secondsOf(child, shares, concurrency);
  const every = 1 / Math.min(LIMITS.dispatched, LIMITS.environments);
  // All take as long: who began first ends first, so a queue is as good as a heap.
  const ends = new Float64Array(concurrency);
  let [last, busiest] = [0, 0];
  for (let index = 0, begun = 0; index < count; index++) {
    const slot = index % concurrency;
    begun = Math.max(index === 0 ? 0 : begun + every, ends[slot] ?? 0);
    ends[slot] = begun + seconds;
    last = begun + seconds;
    if (busiest < concurrency) busiest = Math.min(concurrency, Math.ceil(Math.min(seconds, begun + every) / every));
  }
  return { seconds: last, busiest };
}

export function scaled(work: Work, shares: Shares = DEFAULTS): Scaled {
  const { child, count } = childrenOf(work, shares);
  const load = { shards: count, items: work.items, bytes: work.items * work.itemBytes };
  const concurrency = concurrencyFor(load, shares, LAMBDA.memoryGiB * 1024);
  const { seconds, busiest } = simulate(child, count, shares, concurrency);
  const puts = child.puts * count;
  const listCalls = Math.ceil(work.items / 1000);
  const planRate = MEASURED.plannedPerSecond * LAMBDA.cores;
  const ranges = Math.max(1, Math.min(LIMITS.ranges, Math.floor(work.items / 100_000)));
  const planSeconds = 5 + work.items / (planRate * ranges);
  const gib = (work.items * work.itemBytes) / GIB;
  const childSeconds = secondsOf(child, shares, concurrency);
  const transitions = count * 4;
  const gets = child.gets * count;
  const limits: readonly (readonly [string, number])[] = [
    ['children at once (`maxConcurrency`)', (count * child.seconds) / concurrency],
    ['S3 requests for the prefix (`requestsPerSecond`)', puts / shares.requestsPerSecond],
    ['Cloud Storage reads', gets / shares.reads],
    ['children that Step Functions begins, 100/s', count / LIMITS.dispatched],
  ];
  const [limit = ''] = limits.reduce((most, one) => (one[1] > most[1] * 1.001 ? one : most));
  const lambdaSeconds = count * childSeconds + ranges * planSeconds;
  return {
    shards: count,
    puts,
    listCalls,
    planSeconds,
    transferSeconds: seconds,
    finishSeconds: 2 + count / LIMITS.finished,
    busiestChildren: busiest,
    transitions,
    putsPerSecond: puts / seconds,
    gibPerSecond: gib / seconds,
    requestsUsd: {
      'S3 writes': puts * PRICES.put,
      'listing, both sides': listCalls * (PRICES.gcsList + PRICES.put),
      'Cloud Storage reads': gets * PRICES.gcsGet,
    },
    movingUsd: {
      Lambda: lambdaSeconds * LAMBDA.memoryGiB * PRICES.gibSecond + count * PRICES.invocation,
      'Step Functions': transitions * PRICES.transition,
      'shards and receipts': count * (3 * PRICES.put + 5 * PRICES.get),
    },
    limit,
  };
}

/** By DataSync, in its Enhanced mode, for the same bytes; it charges nothing for objects. */
export const dataSyncUsd = ({ items, itemBytes }: Work): number =>
  ((items * itemBytes) / GIB) * PRICES.dataSyncGiB + PRICES.dataSyncRun;

export const WORKS: readonly Work[] = [
  { name: '100 million objects of 10 MiB: 1 PB', items: 1e8, itemBytes: 10 * MIB },
  { name: '100 million objects of 4 KiB', items: 1e8, itemBytes: 4096 },
  { name: '10,000 objects of 100 GiB: 1 PB', items: 10_000, itemBytes: 100 * GIB },
  { name: '20,000 objects of 1 KiB', items: 20_000, itemBytes: 1024 },
];

/** Ten prefixes, and a bucket of Cloud Storage that has grown with the load. */
const TEN_PREFIXES = { requestsPerSecond: 10 * LIMITS.puts, reads: 10 * LIMITS.gets };

interface Knee {
  readonly name: string;
  readonly work: Work;
  readonly more?: Partial<Shares>;
}

const KNEES: readonly Knee[] = [
  { name: '1 PB in 100 million objects', work: WORKS[0] as Work },
  { name: 'the same, over ten prefixes', work: WORKS[0] as Work, more: TEN_PREFIXES },
  { name: '100 million objects of 4 KiB', work: WORKS[1] as Work },
];

const hours = (seconds: number): string =>
  seconds < 120
    ? `${Math.round(seconds)} s`
    : seconds < 7200
      ? `${Math.round(seconds / 60)} min`
      : `${(seconds / 3600).toFixed(1)} h`;
const count = (value: number): string => Math.round(value).toLocaleString('en-US');
const usd = (value: number): string => (value < 10 ? value.toFixed(2) : count(value));

const times = (value: number): string => `${value < 10 ? value.toFixed(1) : count(value)} times as much`;

/** The tables of docs/scaling.md. */
export function scalingTables(): string {
  const many: Shares = { ...DEFAULTS, maxConcurrency: 1000 };
  const all = WORKS.map((work) => ({ work, ...scaled(work, many) }));
  const row = (name: string, of: (one: (typeof all)[number]) => string): string =>
    `| ${name} | ${all.map(of).join(' | ')} |`;
  const sum = (lines: Readonly<Record<string, number>>): number =>
    Object.values(lines).reduce((all_, one) => all_ + one, 0);
  const scale = [
    row('shards, which are children', ({ shards }) => count(shards)),
    row('list calls, on each side', ({ listCalls }) => count(listCalls)),
    row('S3 writes', ({ puts }) => count(puts)),
    row('plan', ({ planSeconds }) => hours(planSeconds)),
    row('transfer', ({ transferSeconds }) => hours(transferSeconds)),
    row('finish', ({ finishSeconds }) => hours(finishSeconds)),
    row('children at once, at most', ({ busiestChildren }) => count(busiestChildren)),
    row('S3 writes a second, of 3,500 for a prefix', ({ putsPerSecond }) => count(putsPerSecond)),
    row('GiB a second', ({ gibPerSecond }) => gibPerSecond.toFixed(2)),
    row('children begun a second, of 100', ({ shards, transferSeconds }) => (shards / transferSeconds).toFixed(1)),
    row('what limits it', ({ limit }) => limit),
  ];
  const lines = (name: 'requestsUsd' | 'movingUsd'): string[] =>
    Object.keys(all[0]?.[name] ?? {}).map((line) => row(line, (one) => usd(one[name][line] ?? 0)));
  const costs = [
    ...lines('movingUsd'),
    row('**for moving it**', ({ movingUsd }) => `**${usd(sum(movingUsd))}**`),
    row('what AWS DataSync takes for it', ({ work }) => usd(dataSyncUsd(work))),
    row('DataSync takes', ({ work, movingUsd }) => times(dataSyncUsd(work) / sum(movingUsd))),
    ...lines('requestsUsd'),
    row('requests, whoever makes them', ({ requestsUsd }) => usd(sum(requestsUsd))),
  ];
  const head = (first: string): string =>
    `| ${first} | ${all.map(({ work }) => work.name).join(' | ')} |\n|---|${'---|'.repeat(all.length)}`;
  const knees = [1, 10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000].map((maxConcurrency) => {
    const of = ({ work, more }: Knee): string => {
      const one = scaled(work, { ...DEFAULTS, ...more, maxConcurrency });
      return `${hours(one.transferSeconds)} | ${one.limit.split(' (')[0]}`;
    };
    return `| ${count(maxConcurrency)} | ${KNEES.map(of).join(' | ')} |`;
  });
  return [
    head('with 1,000 children at once'),
    ...scale,
    '',
    head('USD'),
    ...costs,
    '',
    `| \`maxConcurrency\` | ${KNEES.map(({ name }) => `${name} | limited by`).join(' | ')} |\n|---|${'---|---|'.repeat(KNEES.length)}`,
    ...knees,
  ].join('\n');
}
