/** Answers that were paid for are kept until so many bytes of newer ones have come. */
export const KEPT_BYTES = 32 * 1024 * 1024;

/** What was made once is given again: to whoever asks meanwhile, and for a while afterwards. Failures are not kept. */
export class Kept<Key> {
  readonly #running = new Map<Key, Promise<Uint8Array>>();
  /** In the order in which they were made. */
  readonly #made = new Map<Key, Uint8Array>();
  #bytes = 0;

  async of(key: Key, make: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const made = this.#made.get(key);
    if (made !== undefined) return made;
    let running = this.#running.get(key);
    if (running === undefined) {
      running = make().finally(() => this.#running.delete(key));
      this.#running.set(key, running);
      running.then((bytes) => this.#keep(key, bytes)).catch(() => undefined);
    }
    return running;
  }

  #keep(key: Key, bytes: Uint8Array): void {
    this.#made.set(key, bytes);
    this.#bytes += bytes.byteLength;
    for (const [oldest, { byteLength }] of this.#made) {
      if (this.#bytes <= KEPT_BYTES || oldest === key) return;
      this.#made.delete(oldest);
      this.#bytes -= byteLength;
    }
  }
}
