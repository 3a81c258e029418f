import { ownerOf, type S3, type S3Place } from './client.ts';

/**
 * Whether an object is there, for when S3 answers 403 to a HEAD or GET. That is its answer for objects that are not
 * there, too, unless the role may list the whole bucket, and a role that is limited to a prefix may not.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html (Permissions)
 */
export async function isListed(
  { sdk, client }: S3,
  place: S3Place,
  key: string,
  signal: AbortSignal,
): Promise<boolean> {
  const command = new sdk.ListObjectsV2Command({
    Bucket: place.bucket,
    ...ownerOf(place),
    Prefix: key,
    MaxKeys: 1,
    EncodingType: 'url',
  });
  const { Contents = [] } = await client.send(command, { abortSignal: signal });
  // In key order, so the very key comes before those that only begin with it.
  return decodedKey(Contents[0]?.Key) === key;
}

export const statusOf = (error: unknown): number | undefined =>
  (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;

/** A key of a listing with `EncodingType: url`. */
export const decodedKey = (text = ''): string =>
  /[%+]/.test(text) ? decodeURIComponent(text.replaceAll('+', ' ')) : text;
