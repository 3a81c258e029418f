import { S3Error, type S3Rest } from './rest.ts';
import { textIn } from './xml.ts';

/**
 * Whether an object is there, for when S3 answers 403 to a HEAD or GET. That is its answer for objects that are not
 * there, too, unless the role may list the whole bucket, and a role that is limited to a prefix may not.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html (Permissions)
 */
export async function isListed(rest: S3Rest, key: string, signal: AbortSignal): Promise<boolean> {
  const query = { 'list-type': '2', prefix: key, 'max-keys': '1', 'encoding-type': 'url' };
  const { text } = await rest.text({ method: 'GET', query, signal });
  const at = text.indexOf('<Contents>');
  // In key order, so the very key comes before those that only begin with it.
  return at >= 0 && decodedKey(textIn(text, 'Key', at)) === key;
}

export const statusOf = (error: unknown): number | undefined =>
  error instanceof S3Error
    ? error.status
    : (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;

/** A key of a listing with `EncodingType: url`. */
export const decodedKey = (text = ''): string =>
  /[%+]/.test(text) ? decodeURIComponent(text.replaceAll('+', ' ')) : text;
