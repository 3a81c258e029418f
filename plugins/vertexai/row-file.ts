import { open, stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import {
  awsSdkCredentials,
  BrokerError,
  type ByteStream,
  type Item,
  type PluginContext,
  streamOf,
  systemErrorCode,
} from '../../core/api/index.ts';
import type { InputConfig } from './config.ts';
import { parseGs, type Storage } from './storage.ts';

/** A file of JSON lines in one version, of which ranges can be read again. */
export interface RowFile {
  /** A file that has become another is not read on. */
  readonly version: string;
  read(range: { readonly start: number; readonly end?: number }, signal: AbortSignal): Promise<ByteStream>;
}

type FileInput = Exclude<InputConfig, readonly unknown[]>;

/** @throws BrokerError `invalid_config` when there is no such file. */
export async function openRows(
  input: FileInput,
  storage: Storage,
  context: PluginContext,
  signal: AbortSignal,
): Promise<RowFile> {
  const { from } = input;
  if (from.startsWith('gs://')) return fromGcs(from, storage, signal);
  if (from.startsWith('s3://')) return fromS3(input, context, signal);
  return fromDisk(isAbsolute(from) ? from : resolve(context.baseDir, from));
}

const missing = (from: string): BrokerError =>
  new BrokerError('invalid_config', `${from} does not exist`, { hint: 'Correct from in the source.' });
const changed = (from: string): BrokerError =>
  new BrokerError('source_changed', `${from} was replaced while it was read`);

async function fromGcs(from: string, storage: Storage, signal: AbortSignal): Promise<RowFile> {
  const { bucket, name } = parseGs(from);
  const staging = storage.at(`gs://${bucket}/`);
  let found: Item | undefined;
  for await (const item of staging.list(name, signal)) {
    if (item.key === '') found = item;
    break;
  }
  if (found === undefined) throw missing(from);
  const item = found;
  return {
    version: item.id,
    read: async ({ start, end = item.size ?? 0 }, stopping) =>
      start >= end ? streamOf() : staging.open(item, { start, end }, stopping),
  };
}

async function fromS3(
  { from, identity, region }: FileInput,
  { credentials, endpoints }: PluginContext,
  signal: AbortSignal,
): Promise<RowFile> {
  const [, bucket = '', key = ''] = /^s3:\/\/([^/]+)\/(.+)$/s.exec(from) ?? [];
  const { GetObjectCommand, HeadObjectCommand, S3Client } = await import('@aws-sdk/client-s3');
  const client = new S3Client({
    credentials: awsSdkCredentials(credentials.aws(identity)),
    region: region ?? (await credentials.awsRegion({ signal })) ?? 'us-east-1',
    ...(endpoints.s3 === undefined ? {} : { endpoint: endpoints.s3, forcePathStyle: true }),
  });
  const send = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      const { name, $metadata } = error as {
        readonly name?: string;
        readonly $metadata?: { readonly httpStatusCode?: number };
      };
      const status = $metadata?.httpStatusCode;
      if (status === 404) throw missing(from);
      if (status === 412) throw changed(from);
      if (status === 403)
        throw new BrokerError('permission_denied', `read ${from}: HTTP 403`, {
          hint: `Allow s3:GetObject on it to the AWS identity ${identity ?? 'of the process'}.`,
        });
      throw new BrokerError(signal.aborted ? 'stopped' : 'unavailable', `read ${from}: ${name ?? 'failed'}`);
    }
  };
  const abortSignal = signal;
  const { ETag, ContentLength = 0 } = await send(
    client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), { abortSignal }),
  );
  return {
    version: `${from}#${ETag ?? ''}`,
    read: async ({ start, end = ContentLength }, stopping) => {
      if (start >= end) return streamOf();
      const command = new GetObjectCommand({
        Bucket: bucket,
        Key: key,
        Range: `bytes=${start}-${end - 1}`,
        ...(ETag === undefined ? {} : { IfMatch: ETag }),
      });
      const { Body } = await send(client.send(command, { abortSignal: stopping }));
      return Body as unknown as ByteStream;
    },
  };
}

async function fromDisk(path: string): Promise<RowFile> {
  const look = async (): Promise<{ readonly size: number; readonly version: string }> => {
    const { size, mtimeMs } = await stat(path).catch((error: unknown) => {
      throw systemErrorCode(error) === 'ENOENT'
        ? missing(path)
        : new BrokerError('invalid_config', `${path}: ${systemErrorCode(error) ?? 'it cannot be read'}`);
    });
    return { size, version: `${path}#${size}-${mtimeMs}` };
  };
  const { size, version } = await look();
  return {
    version,
    read: async ({ start, end = size }) => {
      if ((await look()).version !== version) throw changed(path);
      return start >= end ? streamOf() : fromHandle(path, start, end);
    },
  };
}

async function* fromHandle(path: string, start: number, end: number): AsyncGenerator<Uint8Array> {
  await using handle = await open(path);
  yield* handle.createReadStream({ start, end: end - 1, autoClose: false });
}
