/** Room below which a read is not begun in a block where another one is free: over TLS what was read comes in records. */
const LEAST_ROOM = 16 * 1024;
/** After a pause TLS still delivers the records that it holds: up to 64 KiB, and what it has begun. */
const HEAD_ROOM = 96 * 1024;
const OVERFLOW = 64 * 1024;

interface Block {
  readonly bytes: Buffer;
  /** Where the next read goes. */
  end: number;
  /** Bytes that were read and that somebody may still look at. */
  held: number;
  readonly isLent: boolean;
}

interface Region {
  readonly block: Block;
  start: number;
  end: number;
}

const blockOf = (bytes: Buffer, isLent = false): Block => ({ bytes, end: 0, held: 0, isLent });

/**
 * The memory that a connection reads into, and what was read and not yet consumed. A byte that somebody may still look
 * at is never overwritten: where no room is left, memory is allocated rather than used twice. One consumer, one reader.
 */
export class ReadBuffer {
  readonly #own: readonly Block[];
  #lent: readonly Block[] = [];
  #current: Block;
  readonly #regions: Region[] = [];
  #taken: { readonly block: Block; readonly bytes: number } | undefined;
  /** Bytes that were read and not yet taken. */
  waiting = 0;

  constructor(base: Buffer) {
    this.#current = blockOf(base);
    this.#own = [this.#current];
  }

  /** From the next read on, also use this memory, as two halves: one is read into while the other is looked at. */
  lend(scratch: Buffer): void {
    const half = scratch.length >> 1;
    const parts = half < HEAD_ROOM ? [scratch] : [scratch.subarray(0, half), scratch.subarray(half, half * 2)];
    this.#lent = parts.map((part) => blockOf(part, true));
  }

  /** From the next read on, use only what is the connection's own. */
  takeBack(): void {
    this.#lent = [];
  }

  /** Where the next read goes; never empty. Until it is filled, nothing else is asked for. */
  next(): Buffer {
    const current = this.#current;
    if (current.held === 0) current.end = 0;
    const room = current.bytes.length - current.end;
    const isPreferred = this.#preferred.includes(current);
    if (isPreferred && room >= LEAST_ROOM) return current.bytes.subarray(current.end);
    const free = this.#preferred.find((block) => block.held === 0 && block !== current);
    // Lent memory must not be read into once it was taken back.
    if (free !== undefined) this.#current = free;
    else if (room === 0 || (current.isLent && !isPreferred)) this.#current = blockOf(Buffer.allocUnsafeSlow(OVERFLOW));
    if (this.#current.held === 0) this.#current.end = 0;
    return this.#current.bytes.subarray(this.#current.end);
  }

  /** Whether reading should pause until something is freed. */
  get isFull(): boolean {
    const { bytes, end, held } = this.#current;
    const hasRoom = held === 0 || bytes.length - end >= Math.min(HEAD_ROOM, bytes.length >> 1);
    if (hasRoom && this.#preferred.includes(this.#current)) return false;
    return !this.#preferred.some((block) => block.held === 0 && block !== this.#current);
  }

  get #preferred(): readonly Block[] {
    return this.#lent.length > 0 ? this.#lent : this.#own;
  }

  /** @param count bytes that were read into what `next` gave. */
  filled(count: number): void {
    const block = this.#current;
    const last = this.#regions.at(-1);
    if (last?.block === block && last.end === block.end) last.end += count;
    else this.#regions.push({ block, start: block.end, end: block.end + count });
    block.end += count;
    block.held += count;
    this.waiting += count;
  }

  /** What was read first, as far as it lies together; undefined when there is nothing. */
  peek(): Buffer | undefined {
    const region = this.#regions[0];
    return region?.block.bytes.subarray(region.start, region.end);
  }

  /** Passes over bytes that were peeked at. */
  skip(count: number): void {
    this.take(count);
    this.free();
  }

  /** The next bytes, at most so many, to be looked at until they are freed. */
  take(most: number): Buffer {
    const region = this.#regions[0];
    if (region === undefined) return Buffer.alloc(0);
    const end = Math.min(region.end, region.start + most);
    const view = region.block.bytes.subarray(region.start, end);
    this.#taken = { block: region.block, bytes: view.length };
    this.waiting -= view.length;
    region.start = end;
    if (region.start === region.end) this.#regions.shift();
    return view;
  }

  /** What was taken last may be overwritten. */
  free(): void {
    if (this.#taken === undefined) return;
    this.#taken.block.held -= this.#taken.bytes;
    this.#taken = undefined;
  }
}
