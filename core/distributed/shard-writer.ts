import { hash } from 'node:crypto';
import { mustBeWhole } from '../engine/content.ts';
import type { Job } from '../engine/job.ts';
import type { Action, Step } from '../engine/plan.ts';
import { actionLine, planHeader } from '../engine/plan-file.ts';
import type { Phase } from './context.ts';
import type { Layout } from './layout.ts';
import type { Shard } from './manifest.ts';

/** A shard ends with the item that brings its text to so much. */
const MOST_TEXT = 4 * 2 ** 20;
/** Shards that are written at once. */
const AT_ONCE = 4;

/** Cuts a stream of steps into shards and writes them as they are full. Holds a few of them, however many there are. */
export class ShardWriter {
  readonly #phase: Phase;
  readonly #layout: Layout;
  readonly #prefix: string;
  readonly #signal: AbortSignal;
  readonly #header: string;
  readonly #extra: boolean;
  readonly #writing = new Set<Promise<void>>();
  #failed: { readonly error: unknown } | undefined;
  #lines: string[] = [];
  #text = 0;
  #bytes = 0;
  #count = 0;
  #shards: Shard[] = [];

  /**
   * @param prefix of the names of its shards: no other writer has it, so that a process that died leaves nothing that counts.
   * @param extra what is added is to be deleted.
   */
  constructor(phase: Phase, layout: Layout, prefix: string, signal: AbortSignal, extra = false) {
    this.#phase = phase;
    this.#layout = layout;
    this.#prefix = prefix;
    this.#signal = signal;
    this.#extra = extra;
    this.#header = JSON.stringify(planHeader(phase.job, 'plan', phase.runtime.now()));
  }

  /** Lines wait that are in no shard yet. */
  get isOpen(): boolean {
    return this.#lines.length > 0;
  }

  /** Shards since they were taken last. */
  take(): readonly Shard[] {
    const taken = this.#shards;
    this.#shards = [];
    return taken;
  }

  /** @returns something to wait for when a shard has ended with it. */
  add({ actions }: Step): Promise<void> | undefined {
    const { job, shares } = this.#phase;
    // What is moved is looked at once more, in all sinks together; what has receipts has one for each item.
    const keepsAll = job.move === true || job.receipts !== undefined;
    const large: Action[] = [];
    for (const action of actions) {
      if (action.action === 'skip' && !keepsAll) continue;
      if (isLarge(action, job, shares.shardBytes)) large.push(action);
      else this.#line(action);
    }
    if (large.length > 0) return this.#pieces(large).then(() => (this.#isFull ? this.close() : undefined));
    return this.#isFull ? this.close() : undefined;
  }

  get #isFull(): boolean {
    const { shardBytes, shardItems } = this.#phase.shares;
    return this.#bytes >= shardBytes || this.#lines.length >= shardItems || this.#text >= MOST_TEXT;
  }

  /** Ends the shard at hand. */
  async close(): Promise<void> {
    if (!this.isOpen) return;
    const lines = this.#lines;
    const bytes = this.#bytes;
    this.#lines = [];
    [this.#text, this.#bytes] = [0, 0];
    await this.#write(this.#name(), lines, { items: lines.length, bytes, ...(this.#extra && { extra: true }) });
  }

  /** Resolves when all shards are durable. */
  async settle(): Promise<void> {
    await Promise.all(this.#writing);
    if (this.#failed !== undefined) throw this.#failed.error;
  }

  #name(): string {
    return `${this.#prefix}-${String(++this.#count).padStart(6, '0')}`;
  }

  #line(action: Action): void {
    const line = JSON.stringify(actionLine(action));
    this.#lines.push(line);
    this.#text += line.length;
    if (action.action === 'create' || action.action === 'update') this.#bytes += action.item.size ?? 0;
  }

  /** Large items: one file says what is to be done, and the manifest has a line for each of the ranges. */
  async #pieces(actions: readonly Action[]): Promise<void> {
    const { job, shares } = this.#phase;
    for (const action of actions) {
      const ranges = job.sinks[action.sink]?.pieces?.cut(action.item, shares.shardBytes) ?? [];
      const pieces = ranges.map(({ start, end }) => ({ of: ranges.length, start, end }));
      if (pieces.length < 2) this.#line(action);
      else await this.#write(this.#name(), [JSON.stringify(actionLine(action))], { items: 1, bytes: 0 }, pieces);
    }
  }

  async #write(
    name: string,
    lines: readonly string[],
    shard: Omit<Shard, 'shard' | 'sha256'>,
    pieces?: readonly NonNullable<Shard['piece']>[],
  ): Promise<void> {
    const end = JSON.stringify({ end: lines.length });
    const text = Buffer.from(`${[this.#header, ...lines, end].join('\n')}\n`);
    const line = { shard: name, ...shard, sha256: hash('sha256', text) };
    if (pieces === undefined) this.#shards.push(line);
    else for (const piece of pieces) this.#shards.push({ ...line, bytes: piece.end - piece.start, piece });
    const writing = this.#phase.files.write(this.#layout.shard(name), text, this.#signal).catch((error: unknown) => {
      this.#failed ??= { error };
    });
    const one = writing.finally(() => this.#writing.delete(one));
    this.#writing.add(one);
    while (this.#writing.size >= AT_ONCE) await Promise.race(this.#writing);
    if (this.#failed !== undefined) throw this.#failed.error;
  }
}

/** Whether it is carried by several processes: it can be read in ranges, and proved as a whole. */
function isLarge({ action, item, source, sink }: Action, job: Job, shardBytes: number): boolean {
  if ((action !== 'create' && action !== 'update') || (item.size ?? 0) <= shardBytes || job.move === true) return false;
  return (
    job.sources[source]?.ranges === true &&
    !mustBeWhole(item) &&
    job.sinks[sink]?.pieces !== undefined &&
    item.checksums?.crc32c !== undefined
  );
}
