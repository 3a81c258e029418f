import type { HttpBody, HttpRequest, SentBody } from '../api/transport.ts';

/** Of a body in memory: so that a slow line shows that something goes on. */
const SLICE = 256 * 1024;
/** Of an answer that comes early, which says what is wrong. */
const LONGEST_EARLY_ANSWER = 64 * 1024;

export const isSent = (body: HttpRequest['body']): body is SentBody =>
  body !== undefined && !(body instanceof Uint8Array);

/**
 * A body in memory, as one that is sent piece by piece where it is large: its memory is its owner's again only when all
 * of it was written, and not when the answer has come.
 *
 * @param most bytes that are copied anyway.
 */
export function largeAsSent(body: HttpRequest['body'], most: number): HttpRequest['body'] {
  if (body === undefined || isSent(body) || body.byteLength <= most) return body;
  return {
    size: body.byteLength,
    async send(take) {
      for (let at = 0; at < body.byteLength; at += SLICE) await take(body.subarray(at, at + SLICE));
    },
  };
}

/** What has come of an early answer, and no more of it than a message is long. */
export async function earlyAnswer(body: HttpBody): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      if (bytes > LONGEST_EARLY_ANSWER) break;
      chunks.push(chunk);
    }
  } catch {
    // What has come of it says enough.
  }
  return Buffer.concat(chunks);
}
