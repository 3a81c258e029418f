import type { Socket } from 'node:net';
import { tooLong } from './failure.ts';

/** A head and a small body go out as one write. */
export const ONE_WRITE = 16 * 1024;

/** Writes one request after the other to a socket: the head, and with it the first bytes of the body. */
export class Sending {
  readonly #socket: Socket;
  readonly #host: string;
  readonly #onWritten: () => void;
  #out: Buffer | undefined;
  #head: string | undefined;
  #size = 0;
  #sent = 0;
  #taking: PromiseWithResolvers<void> | undefined;
  /** A write was handed over whose memory is not free yet. */
  isWriting = false;

  constructor(socket: Socket, host: string, onWritten: () => void) {
    this.#socket = socket;
    this.#host = host;
    this.#onWritten = onWritten;
  }

  begin(head: string, size: number): void {
    this.#head = head;
    this.#size = size;
    this.#sent = 0;
  }

  get sent(): number {
    return this.#sent;
  }

  /** Whether the whole request was handed over. */
  get isWhole(): boolean {
    return this.#sent === this.#size && this.#head === undefined;
  }

  /** Sends the next bytes of the body, or the head of a request without one. The promise: when their memory is free. */
  take(chunk: Uint8Array): Promise<void> | undefined {
    const size = chunk.byteLength;
    if (this.#sent + size > this.#size) throw tooLong(this.#host, this.#size);
    this.#sent += size;
    const head = this.#head;
    this.#head = undefined;
    if (head === undefined) return this.#write(chunk);
    if (head.length + size <= ONE_WRITE && this.#sent === this.#size) return this.#writeTogether(head, chunk);
    this.#socket.cork();
    this.#socket.write(head, 'latin1');
    const written = size === 0 ? undefined : this.#write(chunk);
    this.#socket.uncork();
    return written;
  }

  /** Nothing more is written: the socket is gone. */
  fail(reason: Error): void {
    this.#taking?.reject(reason);
    this.#taking = undefined;
  }

  #writeTogether(head: string, chunk: Uint8Array): undefined {
    this.#out ??= Buffer.allocUnsafeSlow(ONE_WRITE);
    const length = this.#out.write(head, 'latin1');
    this.#out.set(chunk, length);
    this.isWriting = true;
    this.#socket.write(this.#out.subarray(0, length + chunk.byteLength), this.#written);
  }

  #write(chunk: Uint8Array): Promise<void> {
    this.#taking = Promise.withResolvers();
    const { promise } = this.#taking;
    this.isWriting = true;
    this.#socket.write(chunk, this.#written);
    return promise;
  }

  /** What went wrong with a write, the socket tells. */
  readonly #written = (error?: Error | null): void => {
    if (error) return;
    this.isWriting = false;
    const taking = this.#taking;
    this.#taking = undefined;
    taking?.resolve();
    this.#onWritten();
  };
}
