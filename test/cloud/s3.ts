import type { IncomingMessage } from 'node:http';
import type { PolicyStatement } from './iam.ts';
import { type AwsPrincipal, LOCAL_ACCOUNT } from './principals.ts';
import { authorize } from './s3-authorization.ts';
import { payloadHashOf } from './s3-body.ts';
import { abortUpload, completeUpload, createUpload, listParts, listUploads, uploadPart } from './s3-multipart.ts';
import { S3Bucket } from './s3-objects.ts';
import { deleteObject, getObject, listObjects, objectAttributes, putObject, type S3Request } from './s3-requests.ts';
import { s3Error, s3Xml } from './s3-xml.ts';
import { LocalServer, type Reply, readBody } from './server.ts';
import { SignatureRefused, verifySignature } from './sigv4-verifier.ts';

const KEY_LIMIT = 1024;

/**
 * S3 over path-style URLs: objects, multipart uploads, listing, conditional writes, all five checksums. Verifies
 * signatures and every checksum it is given.
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
 */
export class LocalS3 extends LocalServer {
  readonly buckets = new Map<string, S3Bucket>();
  /** Of whoever calls; without one everything is allowed. */
  policy: readonly PolicyStatement[] | undefined;
  readonly #principals: ReadonlyMap<string, AwsPrincipal>;
  readonly #now: () => number;

  constructor(principals: ReadonlyMap<string, AwsPrincipal>, now: () => number) {
    super();
    this.#principals = principals;
    this.#now = now;
  }

  bucket(name: string, region = 'eu-west-1', owner = LOCAL_ACCOUNT): S3Bucket {
    const bucket = new S3Bucket(name, region, owner);
    this.buckets.set(name, bucket);
    return bucket;
  }

  /** Multipart uploads that were begun and neither completed nor aborted. */
  pendingUploads(): number {
    return [...this.buckets.values()].reduce((sum, bucket) => sum + bucket.uploads.size, 0);
  }

  protected async answer(http: IncomingMessage, url: URL): Promise<Reply> {
    // The path as sent: URL would resolve '..', which is a legal key.
    const path = (http.url ?? '').split('?')[0] ?? '';
    const [bucketName = '', ...rest] = path.slice(1).split('/');
    const key = decodeURIComponent(rest.join('/'));
    const { principal, region } = this.#verify(http, path, url.searchParams);
    const bucket = this.buckets.get(bucketName);
    if (rest.length === 0 || (rest.length === 1 && key === '')) {
      if (http.method === 'PUT' && url.search === '') return this.#createBucket(http, bucketName, region);
    }
    if (bucket === undefined)
      throw s3Error(404, 'NoSuchBucket', 'The specified bucket does not exist', { BucketName: bucketName });
    checkRegion(bucket, region);
    const owner = http.headers['x-amz-expected-bucket-owner'];
    if (owner !== undefined && owner !== bucket.owner) throw s3Error(403, 'AccessDenied', 'Access Denied');
    if (principal.account !== bucket.owner)
      throw s3Error(
        403,
        'AccessDenied',
        `User: ${principal.arn} is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::${bucketName}/${key}"`,
      );
    if (Buffer.byteLength(key) > KEY_LIMIT)
      throw s3Error(400, 'KeyTooLongError', 'Your key is too long', { MaxSizeAllowed: '1024' });
    const headers = http.headers as Record<string, string | undefined>;
    if (this.policy !== undefined) authorize(this.policy, { http, bucket, key, query: url.searchParams, headers });
    return route({ http, bucket, key, query: url.searchParams, headers });
  }

  #verify(http: IncomingMessage, path: string, query: URLSearchParams): { principal: AwsPrincipal; region: string } {
    const payloadHash = payloadHashOf(http);
    if (payloadHash === '')
      throw s3Error(400, 'MissingSecurityHeader', 'Your request is missing a required header: x-amz-content-sha256');
    const headers = http.headers as Record<string, string>;
    try {
      return verifySignature(
        { method: http.method ?? '', path, query, headers, payloadHash },
        's3',
        this.#principals,
        this.#now(),
      );
    } catch (error) {
      if (!(error instanceof SignatureRefused)) throw error;
      const codes: Record<string, string> = {
        SignatureExpired: 'RequestTimeTooSkewed',
        InvalidClientTokenId: 'InvalidAccessKeyId',
        IncompleteSignature: 'AccessDenied',
      };
      const status = error.code === 'ExpiredToken' ? 400 : 403;
      throw s3Error(status, codes[error.code] ?? error.code, error.message, {
        ServerTime: new Date(this.#now()).toISOString(),
      });
    }
  }

  async #createBucket(http: IncomingMessage, name: string, region: string): Promise<Reply> {
    await readBody(http);
    if (this.buckets.has(name))
      throw s3Error(
        409,
        'BucketAlreadyOwnedByYou',
        'Your previous request to create the named bucket succeeded and you already own it.',
      );
    this.bucket(name, region);
    return { status: 200, headers: { location: `/${name}` } };
  }
}

function checkRegion(bucket: S3Bucket, region: string): void {
  if (bucket.region === region) return;
  const message = `The authorization header is malformed; the region '${region}' is wrong; expecting '${bucket.region}'`;
  throw s3Error(
    400,
    'AuthorizationHeaderMalformed',
    message,
    { Region: bucket.region },
    { 'x-amz-bucket-region': bucket.region },
  );
}

async function route(request: S3Request): Promise<Reply> {
  const { http, key, query } = request;
  const operation = `${http.method} ${key === '' ? 'bucket' : 'object'}`;
  switch (operation) {
    case 'PUT object':
      return query.has('partNumber') ? uploadPart(request) : putObject(request);
    case 'POST object':
      if (query.has('uploads')) return createUpload(request);
      if (query.has('uploadId')) return completeUpload(request);
      break;
    case 'DELETE object':
      return query.has('uploadId') ? abortUpload(request) : deleteObject(request);
    case 'GET object':
      if (query.has('attributes')) return objectAttributes(request);
      return query.has('uploadId') ? listParts(request) : getObject(request, false);
    case 'HEAD object':
      return getObject(request, true);
    case 'GET bucket':
      if (query.has('uploads')) return listUploads(request);
      if (query.get('list-type') === '2') return listObjects(request);
      if (query.has('location')) return s3Xml(200, 'LocationConstraint', request.bucket.region);
      break;
    case 'HEAD bucket':
      return { status: 200, headers: { 'x-amz-bucket-region': request.bucket.region } };
    case 'PUT bucket':
      if (query.has('lifecycle')) {
        await readBody(http);
        return { status: 200 };
      }
      break;
  }
  throw s3Error(501, 'NotImplemented', 'A header or query you provided implies functionality that is not implemented.');
}
