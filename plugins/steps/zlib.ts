import { type Duplex, Readable } from 'node:stream';
import { BrokerError, type Item, visible } from '../../core/api/index.ts';

/** Bytes of one chunk of what a compressor makes. */
export const CHUNK = 64 * 1024;

/** Whether a key is one of those that a step is for; without globs all are. */
export const suffixed = (key: string, suffix: string): boolean => key.endsWith(suffix) && key.length > suffix.length;

/**
 * Content as a transform of Node makes it. Pulled: the transform is fed only as its output is wanted. It is destroyed
 * on every path, and an error of the content passes as it is.
 *
 * @throws BrokerError `step_failed` for what the transform can make nothing of.
 */
export async function* transformed(
  content: AsyncIterable<Uint8Array>,
  transform: Duplex & { readonly bytesWritten?: number },
  item: Item,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let read = 0;
  let failed: unknown;
  async function* counted(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of content) {
        signal.throwIfAborted();
        read += chunk.byteLength;
        // The transform keeps a chunk that it has not worked on, and the source uses its memory again.
        yield Buffer.from(chunk);
      }
    } catch (error) {
      failed = error;
      throw error;
    }
  }
  const input = Readable.from(counted(), { objectMode: false, highWaterMark: CHUNK });
  input.on('error', (error) => transform.destroy(error));
  input.pipe(transform);
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
  } catch (error) {
    if (failed !== undefined) throw failed;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new BrokerError('step_failed', `${item.id}: ${visible(message)}${code === undefined ? '' : ` (${code})`}`);
  } finally {
    input.destroy();
    transform.destroy();
  }
  // Node stops at the end of the compressed data, whatever comes after it.
  const { bytesWritten = read } = transform;
  if (bytesWritten < read)
    throw new BrokerError(
      'step_failed',
      `${item.id}: ${read - bytesWritten} bytes after the end of the compressed data`,
    );
}
