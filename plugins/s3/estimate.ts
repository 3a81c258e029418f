import type { Estimate, Item } from '../../core/api/index.ts';
import type { S3Config } from './config.ts';
import { mostInOnePut, partSizeOf } from './parts.ts';

/** US dollars a request: PUT, POST and LIST of the class STANDARD, us-east-1. Source: https://aws.amazon.com/s3/pricing/ */
const USD = 0.005 / 1000;

/** One PUT, or an upload in parts; what comes in costs nothing by itself. */
export function s3Estimate({ size = 0, checksums }: Item, config: Pick<S3Config, 'partSize'>): Estimate {
  const passage = checksums?.crc32c === undefined ? 'buffered' : 'streamed';
  if (size <= mostInOnePut(config, passage)) return { requests: { 's3:PutObject': 1 }, reads: 1, usd: USD };
  const parts = Math.ceil(size / partSizeOf(size, config, passage));
  const requests = { 's3:CreateMultipartUpload': 1, 's3:UploadPart': parts, 's3:CompleteMultipartUpload': 1 };
  return { requests, reads: parts, usd: (parts + 2) * USD };
}
