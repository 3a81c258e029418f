import type { ErrorCode } from './error-codes.ts';
import type { JsonValue } from './json.ts';

/** Base64 of the big-endian bytes, the form in which both GCS and S3 write a CRC32C and GCS writes an MD5. */
export interface Checksums {
  readonly crc32c?: string;
  readonly md5?: string;
}

/** The HTTP headers that belong to an object's content and travel with it. */
export interface ContentHeaders {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly cacheControl?: string;
  readonly contentDisposition?: string;
  readonly contentLanguage?: string;
}

/** Why an item cannot be carried, or a sink cannot hold it. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** That an item's bytes are made on the way, and from what. */
export interface Made {
  /** The names of the steps, for people: `gunzip, gzip`. */
  readonly by: string;
  /**
   * Names the version in the source and the steps with their options. A sink that can keeps it with the object, and
   * gives it back as `StoredObject.origin`: nothing else tells that what is there need not be made again.
   */
  readonly origin: string;
  /** Made twice it is not the same: the bytes of two sides are not to be compared. */
  readonly once?: true;
}

/** One unit of transfer. Plain data: it may be written to a manifest here and carried out by another process. */
export interface Item {
  /** Same content, same id (`gs://bucket/name#generation`): the key of idempotency. */
  readonly id: string;
  /** The exact name below the source's prefix, never normalised: `//`, a leading `/` and `..` are legal. */
  readonly key: string;
  /** Bytes, when known before reading. */
  readonly size?: number;
  /** As the source publishes them; the proof of the copy rests on them. */
  readonly checksums?: Checksums;
  /** RFC 3339. */
  readonly modifiedAt?: string;
  readonly headers?: ContentHeaders;
  /** User metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** In the words of the source: `NEARLINE`. */
  readonly storageClass?: string;
  /** What else the source keeps of it, by name, for which there is no place here: it cannot be carried. */
  readonly uncarried?: readonly string[];
  /** Why it cannot be carried at all: it is refused by name. */
  readonly problem?: Refusal;
  /** To be read as a whole, and not in ranges: what proves it is known at its end only. */
  readonly whole?: true;
  /** Nothing tells one version of it from another: what is read twice may be two. */
  readonly versioned?: false;
  /** Something else is made of this very version, so that no newer one may take its place in a run. */
  readonly exact?: true;
  /** It is made by steps on its way: size and checksums of the result are not known before. */
  readonly made?: Made;
  /** What only this source understands: a generation, a bucket, a shard number. */
  readonly ref: JsonValue;
}

/** An object that a sink holds. `key` is relative to the sink's prefix, as an item's key is to its source's. */
export interface StoredObject {
  readonly key: string;
  readonly size: number;
  readonly checksums?: Checksums;
  /** True when `checksums` is all that can be learned, so asking with `stat` would add nothing. */
  readonly complete?: boolean;
  /** What a conditional write or delete compares (an S3 ETag); opaque to the engine. */
  readonly revision?: string;
  readonly modifiedAt?: string;
  /** Of what it was made, as the sink was given it (`Item.made`). */
  readonly origin?: string;
}

/** What carrying an item takes, by the public prices: an estimate, and never a bill. */
export interface Estimate {
  /** By the name of the request: `s3:PutObject`. */
  readonly requests: Readonly<Record<string, number>>;
  /** How often the item is opened. */
  readonly reads?: number;
  readonly usd?: number;
}

/** What a sink answers after a write: where the bytes are and what proves them. */
export interface Written {
  /** For people and reports: `s3://bucket/key`, a path. */
  readonly location: string;
  readonly size: number;
  /** The checksums that the sink's store confirmed, not merely those that were sent. */
  readonly checksums?: Checksums;
  /** The store's version id, where it keeps versions. */
  readonly version?: string;
  /** What could not be carried over exactly, one sentence each. */
  readonly notes?: readonly string[];
}
