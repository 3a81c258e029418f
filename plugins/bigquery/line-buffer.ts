/** UTF-16 units take at most so many bytes. */
const MOST_BYTES = 3;

/** Lines as bytes, each written as soon as it is there: a text that grows would be copied again and again by the collector. */
export class LineBuffer {
  #bytes: Buffer;
  #length = 0;

  /** @param size bytes that are expected; it grows where they do not suffice. */
  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafe(Math.max(1024, size));
  }

  add(line: string): void {
    if (this.#bytes.length - this.#length < line.length * MOST_BYTES) this.#grow(line.length * MOST_BYTES);
    this.#length += this.#bytes.write(line, this.#length);
  }

  /** What was added. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(more: number): void {
    const grown = Buffer.allocUnsafe(this.#bytes.length * 2 + more);
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}
