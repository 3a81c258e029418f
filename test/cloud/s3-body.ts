import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { ALGORITHMS, type Algorithm, hashOf } from './s3-checksums.ts';
import { s3Error } from './s3-xml.ts';

/** An uploaded body that passed every check that its headers and trailers asked for. */
export interface Received {
  readonly chunks: readonly Buffer[];
  readonly size: number;
  readonly md5Hex: string;
  /** Of every algorithm that was announced, and CRC64NVME in any case, as S3 has it. */
  readonly checksums: Readonly<Partial<Record<Algorithm, string>>>;
  /** The algorithm that the client chose. */
  readonly chosen: Algorithm | undefined;
}

/** What was sent as x-amz-content-sha256, to be compared with the signature first. */
export const payloadHashOf = (request: IncomingMessage): string =>
  String(request.headers['x-amz-content-sha256'] ?? '');

/**
 * Reads a body, decodes aws-chunked, and verifies Content-MD5, x-amz-content-sha256 and all x-amz-checksum-* headers
 * and trailers.
 *
 * @param keep false to verify and forget, so that large bodies take no memory.
 */
export async function receive(
  request: IncomingMessage,
  keep: boolean,
  wanted: readonly Algorithm[] = [],
): Promise<Received> {
  const headers = request.headers as Record<string, string | undefined>;
  const sha = payloadHashOf(request);
  const streaming = sha.startsWith('STREAMING-');
  if (streaming && sha !== 'STREAMING-UNSIGNED-PAYLOAD-TRAILER')
    throw s3Error(501, 'NotImplemented', 'Signed chunks are not implemented here.');
  const trailerName = streaming ? headers['x-amz-trailer'] : undefined;
  const announced = ALGORITHMS.filter(
    (name) => headers[`x-amz-checksum-${name}`] !== undefined || trailerName === `x-amz-checksum-${name}`,
  );
  if (announced.length > 1)
    throw s3Error(
      400,
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  const named = (headers['x-amz-sdk-checksum-algorithm'] ?? '').toLowerCase();
  const chosen = announced[0] ?? ALGORITHMS.find((name) => name === named);
  const hashes = new Map(
    await Promise.all(
      [...new Set([...announced, ...(chosen === undefined ? [] : [chosen]), ...wanted])].map(
        async (name) => [name, await hashOf(name)] as const,
      ),
    ),
  );
  const md5 = keep || headers['content-md5'] !== undefined ? createHash('md5') : undefined;
  const sha256 = /^[0-9a-f]{64}$/.test(sha) ? createHash('sha256') : undefined;

  const chunks: Buffer[] = [];
  let size = 0;
  const decoder = streaming ? new ChunkDecoder() : undefined;
  for await (const raw of request) {
    for (const chunk of decoder?.push(raw as Buffer) ?? [raw as Buffer]) {
      size += chunk.byteLength;
      if (keep) chunks.push(Buffer.from(chunk));
      for (const hash of hashes.values()) hash.update(chunk);
      md5?.update(chunk);
      sha256?.update(chunk);
    }
  }
  const length = headers[streaming ? 'x-amz-decoded-content-length' : 'content-length'];
  if (!request.complete || (length !== undefined && Number(length) !== size)) {
    throw s3Error(
      400,
      'IncompleteBody',
      'You did not provide the number of bytes specified by the Content-Length HTTP header',
    );
  }
  if (length === undefined)
    throw s3Error(411, 'MissingContentLength', 'You must provide the Content-Length HTTP header.');
  const checksums: Partial<Record<Algorithm, string>> = {};
  for (const [name, hash] of hashes) checksums[name] = hash.digest();
  const md5Value = md5?.digest();
  if (sha256 !== undefined && sha256.digest('hex') !== sha)
    throw s3Error(
      400,
      'XAmzContentSHA256Mismatch',
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
    );
  if (headers['content-md5'] !== undefined && headers['content-md5'] !== md5Value?.toString('base64'))
    throw s3Error(400, 'BadDigest', 'The Content-MD5 you specified did not match what we received.');
  for (const name of announced) {
    const sent =
      trailerName === `x-amz-checksum-${name}` ? decoder?.trailers.get(trailerName) : headers[`x-amz-checksum-${name}`];
    if (sent !== checksums[name])
      throw s3Error(400, 'BadDigest', `The ${name.toUpperCase()} you specified did not match the calculated checksum.`);
  }
  return { chunks, size, md5Hex: md5Value?.toString('hex') ?? 'd'.repeat(32), checksums, chosen };
}

/** aws-chunked: `size-in-hex\r\n bytes \r\n … 0\r\n trailers \r\n`. */
class ChunkDecoder {
  readonly trailers = new Map<string, string>();
  #rest: Buffer = Buffer.alloc(0);
  #left = 0;
  #ended = false;

  *push(raw: Buffer): Generator<Buffer> {
    this.#rest = this.#rest.length === 0 ? raw : Buffer.concat([this.#rest, raw]);
    while (this.#rest.length > 0) {
      if (this.#left > 0) {
        const piece = this.#rest.subarray(0, this.#left);
        this.#rest = this.#rest.subarray(piece.length);
        this.#left -= piece.length;
        yield piece;
        continue;
      }
      const end = this.#rest.indexOf('\r\n');
      if (end < 0) return;
      this.#line(this.#rest.subarray(0, end).toString('latin1'));
      this.#rest = this.#rest.subarray(end + 2);
    }
  }

  #line(line: string): void {
    const [name, value] = line.split(':');
    if (this.#ended) {
      if (value !== undefined) this.trailers.set(name?.trim().toLowerCase() ?? '', value.trim());
    } else if (line !== '') {
      this.#left = Number.parseInt(line.split(';')[0] ?? '', 16);
      this.#ended = this.#left === 0;
    }
  }
}
