import { randomUUID } from 'node:crypto';
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  NoSuchKey,
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
    put: (key: string, bytes: Buffer, contentType = 'application/octet-stream') =>
      gcs(
        'POST',
        `/upload/storage/v1/b/${name}/o?uploadType=media&name=${encodeURIComponent(key)}`,
        new Uint8Array(bytes),
        { 'content-type': contentType },
      ),
    remove: (key: string) => gcs('DELETE', `/storage/v1/b/${name}/o/${encodeURIComponent(key)}`),
  };
}
