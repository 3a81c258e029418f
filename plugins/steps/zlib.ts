import { type Duplex, Readable } from 'node:stream';
import { BrokerError, type Item, visible } from '../../core/api/index.ts';

/** Bytes of one chunk of what a compressor makes. */
export const CHUNK = 64 * 1024;

/** Whether a key ends in a suffix, and is more than that. */
export const suffixed = (key: string, suffix: string): boolean => key.endsWith(suffix) && key.length > suffix.length;

/** What is fed, and what comes out. */
export interface Transform {
  readonly into: NodeJS.WritableStream & { readonly bytesWritten?: number };
  readonly from: AsyncIterable<Uint8Array> & { destroy(error?: Error): unknown };
  /** Ends it, whatever became of it. */
  close(): void;
}

/** A transform of Node. */
export const nodeTransform = (stream: Duplex & { readonly bytesWritten?: number }): Transform => ({
  into: stream,
  from: stream,
  close: () => stream.destroy(),
});

/**
 * Content as a transform makes it. Pulled: the transform is fed only as its output is wanted. It is closed on every
 * path, and an error of the content passes as it is.
 *
 * @throws BrokerError `step_failed` for what the transform can make nothing of.
 */
export async function* transformed(
  content: AsyncIterable<Uint8Array>,
  { into, from, close }: Transform,
  item: Item,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let read = 0;
  let failed: { readonly error: unknown } | undefined;
  async function* counted(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of content) {
        signal.throwIfAborted();
        read += chunk.byteLength;
        // The transform keeps a chunk that it has not worked on, and the source uses its memory again.
        yield Buffer.from(chunk);
      }
    } catch (error) {
      failed = { error };
      throw error;
    }
  }
  const input = Readable.from(counted(), { objectMode: false, highWaterMark: CHUNK });
  input.on('error', (error) => from.destroy(error));
  input.pipe(into);
  try {
    for await (const chunk of from) yield chunk;
  } catch (error) {
    if (failed !== undefined) throw failed.error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new BrokerError('step_failed', `${item.id}: ${visible(message)}${code === undefined ? '' : ` (${code})`}`);
  } finally {
    input.unpipe(into);
    input.destroy();
    close();
  }
  // Node stops at the end of the compressed data, whatever comes after it.
  const { bytesWritten = read } = into;
  if (bytesWritten < read)
    throw new BrokerError(
      'step_failed',
      `${item.id}: ${read - bytesWritten} bytes after the end of the compressed data`,
    );
}
