import { BrokerError, type StoredObject } from '../../core/api/index.ts';
import type { S3Place } from './client.ts';
import { s3Failure } from './errors.ts';
import { type ListPage, readPage } from './page.ts';
import type { S3Rest } from './rest.ts';

/** Pages that hold nothing, one after the other. */
const MOST_EMPTY = 100;

/** What is listed, and for whom. */
export interface Listed {
  readonly config: S3Place;
  /** For messages. */
  readonly location: string;
  /** What is cut off keys. */
  readonly prefix: string;
  /** Only keys that begin so. */
  readonly below?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * The objects of a bucket page by page, the next one asked for while one is read.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
 * @throws BrokerError `list_order` for a listing without an end.
 */
export async function* objectPages(
  rest: S3Rest,
  place: Listed,
  after: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Iterable<StoredObject>> {
  let empty = 0;
  let page: Promise<ListPage> | undefined = onePage(rest, place, { after }, signal);
  let token: string | undefined;
  while (page !== undefined) {
    const { objects, isEmpty, next, isTruncated }: ListPage = await page;
    empty = isEmpty ? empty + 1 : 0;
    if (isTruncated && (next === undefined || next === token || empty > MOST_EMPTY))
      throw new BrokerError('list_order', `${place.location}: the listing goes round in a loop of pages`);
    token = next;
    page = next === undefined ? undefined : onePage(rest, place, { token: next }, signal);
    page?.catch(() => undefined);
    yield objects;
  }
}

async function onePage(
  rest: S3Rest,
  { config, location, prefix, below = '', headers = {} }: Listed,
  from: { readonly after?: string | undefined; readonly token?: string },
  signal: AbortSignal,
): Promise<ListPage> {
  const query = {
    'list-type': '2',
    // XML cannot carry every character that a key may hold.
    'encoding-type': 'url',
    ...(prefix + below === '' ? {} : { prefix: prefix + below }),
    ...(from.after === undefined ? {} : { 'start-after': prefix + from.after }),
    ...(from.token === undefined ? {} : { 'continuation-token': from.token }),
  };
  const { text } = await rest.text({ method: 'GET', query, headers, signal }).catch((error: unknown) => {
    throw s3Failure(error, `list ${location}`, 's3:ListBucket', config);
  });
  return readPage(text, prefix);
}
