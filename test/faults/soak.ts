/**
 * Random faults at every boundary, against an oracle. `npm run soak -- --seconds 3600 --seed 7` for longer than CI does.
 *
 * What goes wrong hangs on the seed and on the request alone, not on when it comes: a seed replays its faults.
 */
import { hash, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Report } from '../../core/engine/report.ts';
import type { Fault, Seen } from '../cloud/faults.ts';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import type { LocalServer } from '../cloud/server.ts';
import { Crash } from './crash.ts';
import { isMain, parsed } from './soak-command.ts';
import { oracle } from './soak-oracle.ts';
import { LASTING, type World, world } from './world.ts';

const MIB = 2 ** 20;
/** So many processes at most; the last of them see no faults. */
const FAULTY = 4;
const CALM = 12;
/** For so long a process that has died counts as alive. */
const LEASE_MS = 300;

export interface SoakOptions {
  readonly seed: number;
  readonly seconds: number;
  /** At least so many rounds, however long they take. */
  readonly rounds?: number;
  readonly say?: (line: string) => void;
}

export interface SoakResult {
  readonly seed: number;
  readonly rounds: number;
  readonly runs: number;
  readonly deaths: number;
  readonly objects: number;
  readonly bytes: number;
  readonly faults: Readonly<Record<string, number>>;
  /** What the oracle found; empty when all is well. */
  readonly losses: readonly string[];
}

/** A number from 0 up to 1 that hangs on nothing but its arguments. */
export const chance = (...of: readonly (string | number)[]): number =>
  Number.parseInt(hash('sha256', of.join(' ')).slice(0, 12), 16) / 2 ** 48;

const pick = <T>(all: readonly T[], by: number): T => all[Math.floor(by * all.length)] as T;

const answer = (status: number, body = '', headers = {}): Fault => ({ kind: 'answer', status, body, headers });
const xml = (code: string): string => `<Error><Code>${code}</Code><Message>of the soak</Message></Error>`;
const ANY: readonly (readonly [string, Fault])[] = [
  ['reset before', { kind: 'reset-before' }],
  ['reset after', { kind: 'reset-after' }],
  ['503', answer(503)],
  ['429 with Retry-After', answer(429, '', { 'retry-after': '0' })],
  ['delay', { kind: 'delay', ms: 20 }],
];
const READ: readonly (readonly [string, Fault])[] = [
  ['body reset', { kind: 'reset-body', at: 1000 }],
  ['body closed', { kind: 'cut-body', at: 1 }],
  ['body short', { kind: 'short-body', at: 2000 }],
  ['byte corrupted', { kind: 'corrupt-body', at: 3 }],
];
const S3: readonly (readonly [string, Fault])[] = [
  ['SlowDown', answer(503, xml('SlowDown'))],
  ['InternalError', answer(500, xml('InternalError'))],
];
const PART: readonly (readonly [string, Fault])[] = [
  ['BadDigest', answer(400, xml('BadDigest'))],
  ['ExpiredToken', answer(400, xml('ExpiredToken'))],
];
const FINAL: readonly (readonly [string, Fault])[] = [
  ['200 with an error', answer(200, xml('InternalError'))],
  ['200 with blanks', answer(200, '  \n')],
  ['409', answer(409, xml('ConditionalRequestConflict'))],
];

/** What can go wrong with a request, by what it is. */
function faultsOf({ method, target }: Seen): readonly (readonly [string, Fault])[] {
  if (target.includes('alt=media')) return [...ANY, ...READ];
  if (target.startsWith('/storage/') || target.startsWith('/v1')) return ANY;
  if (target.includes('partNumber=')) return [...ANY, ...S3, ...PART];
  if (method === 'POST' && target.includes('uploadId=')) return [...ANY, ...S3, ...FINAL];
  return [...ANY, ...S3];
}

/** A request without what differs from run to run: ids of uploads, generations, tokens of pages. */
const nameOf = ({ method, target }: Seen): string =>
  `${method} ${target.replace(/(uploadId|generation|ifGenerationMatch|pageToken|continuation-token)=[^&]*/gi, '$1')}`;

class Chaos {
  readonly injected: Record<string, number> = {};
  readonly #seen = new Map<string, number>();
  readonly #seed: number;
  readonly #rate: number;
  readonly #round: number;

  constructor(seed: number, round: number) {
    this.#seed = seed;
    this.#round = round;
    this.#rate = chance(seed, round, 'rate') * 0.4;
  }

  watch(servers: readonly LocalServer[]): void {
    for (const server of servers)
      for (const [name, fault] of new Map([...ANY, ...READ, ...S3, ...PART, ...FINAL]))
        server.faults.add((request) => this.#wanted(request, name), fault, Number.POSITIVE_INFINITY);
  }

  /** Asked once for each kind of fault; the first that is wanted happens. */
  #wanted(request: Seen, name: string): boolean {
    const asked = `${nameOf(request)} ${name}`;
    const count = (this.#seen.get(asked) ?? 0) + 1;
    this.#seen.set(asked, count);
    const kinds = faultsOf(request);
    if (!kinds.some(([kind]) => kind === name)) return false;
    if (chance(this.#seed, this.#round, asked, count) >= this.#rate / kinds.length) return false;
    this.injected[name] = (this.injected[name] ?? 0) + 1;
    return true;
  }
}

/** What is in the source at the beginning of a round. */
function fill(w: World, seed: number, ...round: readonly number[]): void {
  const dice = (...of: readonly (string | number)[]): number => chance(seed, ...round, ...of);
  const count = 3 + Math.floor(dice('count') * 15);
  for (let n = 0; n < count; n++) {
    const name =
      pick(['a', 'b/c', 'b-', 'ü', 'z/', 'x y', '%2F'], dice(n, 'name')) + Math.floor(dice(n, 'number') * 20);
    if (dice(n, 'gone') < 0.2) w.bucket.delete(name);
    else {
      const size =
        dice(n, 'large') < 0.15
          ? 5 * MIB + Math.floor(dice(n, 'size') * 12 * MIB)
          : Math.floor(dice(n, 'size') ** 4 * 400_000);
      const bytes = Buffer.alloc(size, `${seed} ${round.join(' ')} ${n} ${dice(n, 'bytes')} `);
      w.bucket.put(name, bytes, { composite: dice(n, 'composite') < 0.3 });
    }
  }
}

/** Runs rounds until the time is over. Each round: new things in the source, processes that meet faults and die, calm ones, the oracle. */
export async function soak({ seed, seconds, rounds: least = 1, say = () => {} }: SoakOptions): Promise<SoakResult> {
  await using w = await world();
  const servers: readonly LocalServer[] = [
    w.cloud.gcs,
    w.cloud.s3,
    w.cloud.awsSts,
    w.cloud.googleSts,
    w.cloud.iamCredentials,
  ];
  w.bucket.writers.add(LOCAL_SERVICE_ACCOUNT);
  w.cloud.s3.bucket('kept');
  const until = performance.now() + seconds * 1000;
  const faults: Record<string, number> = {};
  const losses: string[] = [];
  let [runs, deaths, round, bytes] = [0, 0, 0, 0];
  for (; (performance.now() < until || round < least) && losses.length === 0; round++) {
    fill(w, seed, round);
    const dice = (...of: readonly (string | number)[]): number => chance(seed, round, ...of);
    const deletes = dice('deletes') < 0.5;
    const top = {
      ...LASTING,
      ...(deletes ? { delete: { extras: true, maxPercent: 100, maxCount: 1000 } } : {}),
      ...(dice('receipts') < 0.5 ? { receipts: { use: 's3', with: { bucket: 'kept', region: 'eu-west-1' } } } : {}),
      ...(dice('dead') < 0.5
        ? { deadLetters: { use: 's3', with: { bucket: 'kept', prefix: 'dead/', region: 'eu-west-1' } } }
        : {}),
      concurrency: 1 + Math.floor(dice('concurrency') * 6),
      retry: { attempts: 3, baseDelay: '1ms', maxDelay: '5ms' },
    };
    const chaos = new Chaos(seed, round);
    /** Runs that began after the source was changed last. */
    const fresh = new Set<string>();
    const once = async (runtime: { readonly signal?: AbortSignal }): Promise<Report> => {
      const observer = {
        started: ({ runId, resumed }: { runId: string; resumed: boolean }) => void (resumed || fresh.add(runId)),
      };
      return w.carry({ top, runtime, run: { leaseMs: LEASE_MS, observer } });
    };
    /** What was logged in this round, for when something is lost. */
    const trail: string[] = [];
    for (let process = 0; process < FAULTY; process++) {
      for (const server of servers) server.faults.clear();
      const dies = dice('dies', process) < 0.6;
      const crash = new Crash(
        dies ? 1 + Math.floor(dice('death', process) ** 2 * 120) : Number.POSITIVE_INFINITY,
        dice('happens', process) < 0.5,
      );
      // Others write to the source meanwhile, between two runs.
      if (process > 0 && dice('changes', process) < 0.4) {
        fill(w, seed, round, process);
        fresh.clear();
      }
      crash.watch(servers);
      chaos.watch(servers);
      runs++;
      const report = await once({ signal: crash.signal }).catch(() => undefined);
      trail.push(`process ${process}: ${crash.signal.aborted ? 'died' : (report?.outcome ?? 'threw')}`, ...w.lines);
      if (crash.signal.aborted) deaths++;
      bytes += report?.bytes ?? 0;
      // Whoever says that all is there is believed: it must be so, whatever went wrong. What has changed behind a run that
      // goes on is for the next one.
      if (report?.outcome === 'complete' && fresh.has(report.runId))
        losses.push(...(await oracle(w, deletes)).map((loss) => `${loss}, in a run that was complete`));
      // By then it counts as dead.
      if (crash.signal.aborted) await sleep(LEASE_MS + 50);
    }
    for (const server of servers) server.faults.clear();
    for (let left = CALM; left > 0; left--) {
      runs++;
      const report = await once({});
      bytes += report.bytes;
      if (report.outcome === 'complete' && fresh.has(report.runId)) break;
      if (left === 1)
        losses.push(`round ${round}: not complete: ${JSON.stringify(report.error ?? report.failures[0])}`);
    }
    losses.push(...(await oracle(w, deletes)));
    for (const [name, count] of Object.entries(chaos.injected)) faults[name] = (faults[name] ?? 0) + count;
    if (losses.length > 0) for (const line of trail) say(line);
    if (losses.length > 0) say(`seed ${seed}, round ${round}: ${losses.join('; ')}`);
  }
  return { seed, rounds: round, runs, deaths, objects: w.lake.objects.size, bytes, faults, losses };
}

if (isMain(import.meta.url)) {
  const { seconds = 60, seed = randomInt(2 ** 31), rounds = 1 } = parsed();
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  say(`soak of ${seconds} s, seed ${seed}`);
  const result = await soak({ seed, seconds, rounds, say });
  say(JSON.stringify(result, undefined, 2));
  if (result.losses.length > 0) process.exitCode = 1;
}
