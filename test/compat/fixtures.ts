import { randomUUID } from 'node:crypto';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';

export const needed = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run the compat tests with npm run test:compat`);
  return value;
};

export const s3Url = needed('COMPAT_S3');
export const gcsUrl = needed('COMPAT_GCS');
export const credentials = {
  accessKeyId: needed('AWS_ACCESS_KEY_ID'),
  secretAccessKey: needed('AWS_SECRET_ACCESS_KEY'),
};

const client = new S3Client({ endpoint: s3Url, region: 'us-east-1', forcePathStyle: true, credentials });

/** A new bucket on the S3 server, and a way to look into it that is not ours. */
export async function newS3Bucket() {
  const Bucket = `compat-${randomUUID()}`;
  await client.send(new CreateBucketCommand({ Bucket }));
  return {
    name: Bucket,
    async read(Key: string): Promise<Buffer | undefined> {
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
        return Buffer.from((await Body?.transformToByteArray()) ?? []);
      } catch (error) {
        // A name that MinIO cannot hold cannot be read either.
        if (error instanceof NoSuchKey || (error as Error).name.startsWith('XMinioInvalid')) return undefined;
        throw error;
      }
    },
    /** As a client that sends a CRC32C, and metadata. */
    async put(Key: string, Body: Buffer, Metadata: Record<string, string> = {}): Promise<void> {
      await client.send(new PutObjectCommand({ Bucket, Key, Body, Metadata, ChecksumAlgorithm: 'CRC32C' }));
    },
    async remove(Key: string): Promise<void> {
      await client.send(new DeleteObjectCommand({ Bucket, Key }));
    },
    async uploads(): Promise<number> {
      return (await client.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads?.length ?? 0;
    },
  };
}

async function gcs(
  method: string,
  path: string,
  body?: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<void> {
  const response = await fetch(`${gcsUrl}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`fake-gcs-server: ${method} ${path}: HTTP ${response.status}`);
}

/** A new bucket on the GCS server. */
export async function newGcsBucket() {
  const name = `compat-${randomUUID()}`;
  await gcs('POST', '/storage/v1/b?project=compat', JSON.stringify({ name }), { 'content-type': 'application/json' });
  return {
    name,
    put: (
      key: string,
      bytes: Buffer,
      contentType = 'application/octet-stream',
      metadata?: Readonly<Record<string, string>>,
    ) => {
      const boundary = 'of-the-compat-tests';
      const head = JSON.stringify({ name: key, contentType, ...(metadata && { metadata }) });
      const body = Buffer.concat([
        Buffer.from(`--${boundary}\r\ncontent-type: application/json\r\n\r\n${head}\r\n`),
        Buffer.from(`--${boundary}\r\ncontent-type: ${contentType}\r\n\r\n`),
        bytes,
        Buffer.from(`\r\n--${boundary}--\r\n`),
      ]);
      return gcs('POST', `/upload/storage/v1/b/${name}/o?uploadType=multipart`, new Uint8Array(body), {
        'content-type': `multipart/related; boundary=${boundary}`,
      });
    },
    async read(key: string): Promise<Buffer | undefined> {
      const response = await fetch(`${gcsUrl}/storage/v1/b/${name}/o/${encodeURIComponent(key)}?alt=media`);
      return response.ok ? Buffer.from(await response.arrayBuffer()) : undefined;
    },
    async resource(key: string): Promise<Record<string, unknown>> {
      const response = await fetch(`${gcsUrl}/storage/v1/b/${name}/o/${encodeURIComponent(key)}`);
      return (await response.json()) as Record<string, unknown>;
    },
    remove: (key: string) => gcs('DELETE', `/storage/v1/b/${name}/o/${encodeURIComponent(key)}`),
  };
}
