import { type Asked, allows, type PolicyStatement } from './iam.ts';
import { LOCAL_ACCOUNT } from './principals.ts';
import type { S3Request } from './s3-requests.ts';
import { s3Error } from './s3-xml.ts';

/**
 * Checks a request against a policy as S3 does: one action, more for what its headers ask, and for an object that is
 * not there the right to list, without which its absence is not told.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
 */
export function authorize(policy: readonly PolicyStatement[], request: S3Request): void {
  for (const asked of needed(request)) {
    if (allows(policy, asked)) continue;
    const message = `User: arn:aws:sts::${LOCAL_ACCOUNT}:assumed-role/local is not authorized to perform: ${asked.action} on resource: "${asked.resource}"`;
    throw s3Error(403, 'AccessDenied', message);
  }
}

function needed(request: S3Request): Asked[] {
  const { http, bucket, key, query, headers } = request;
  const bucketArn = `arn:aws:s3:::${bucket.name}`;
  const resource = `${bucketArn}/${key}`;
  const object = (action: string): Asked => ({ action, resource });
  if (key === '') {
    if (query.has('uploads')) return [{ action: 's3:ListBucketMultipartUploads', resource: bucketArn }];
    const prefix = query.get('prefix');
    return [{ action: 's3:ListBucket', resource: bucketArn, context: { 's3:prefix': prefix ?? undefined } }];
  }
  const { method } = http;
  if (method === 'GET' || method === 'HEAD') {
    if (query.has('uploadId')) return [object('s3:ListMultipartUploadParts')];
    // Without s3:prefix in its context: the request has none.
    const toSee = bucket.objects.has(key) ? [] : [{ action: 's3:ListBucket', resource: bucketArn }];
    return [object('s3:GetObject'), ...toSee];
  }
  if (method === 'DELETE') return [object(query.has('uploadId') ? 's3:AbortMultipartUpload' : 's3:DeleteObject')];
  return [object('s3:PutObject'), ...tagging(request, resource), ...encryption(request, headers)];
}

const tagging = ({ headers }: S3Request, resource: string): Asked[] =>
  headers['x-amz-tagging'] === undefined ? [] : [{ action: 's3:PutObjectTagging', resource }];

/** Parts are encrypted with the key of their upload, and are read again when they are put together. */
function encryption({ bucket, query }: S3Request, headers: S3Request['headers']): Asked[] {
  const upload = bucket.uploads.get(query.get('uploadId') ?? '')?.headers ?? {};
  const method = headers['x-amz-server-side-encryption'] ?? upload['x-amz-server-side-encryption'];
  if (method?.startsWith('aws:kms') !== true) return [];
  const name = 'x-amz-server-side-encryption-aws-kms-key-id';
  const id = headers[name] ?? upload[name] ?? 'of-the-bucket';
  const resource = id.startsWith('arn:') ? id : `arn:aws:kms:${bucket.region}:${LOCAL_ACCOUNT}:key/${id}`;
  const context = { 'kms:ViaService': `s3.${bucket.region}.amazonaws.com` };
  const many = query.has('uploads') || query.has('uploadId');
  return ['kms:GenerateDataKey', ...(many ? ['kms:Decrypt'] : [])].map((action) => ({ action, resource, context }));
}
