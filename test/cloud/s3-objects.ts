import { hash } from 'node:crypto';
import { compareKeys } from '../../core/api/keys.ts';
import { crc32c } from './body.ts';
import type { Algorithm } from './s3-checksums.ts';

export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE';

/** An object as S3 keeps it. */
export interface S3Object {
  readonly key: string;
  readonly size: number;
  /** With quotes, as in the header. */
  readonly etag: string;
  readonly lastModified: Date;
  /** The headers that come back with the object: content type, metadata, encryption, storage class. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tags: string | undefined;
  readonly checksums: Readonly<Partial<Record<Algorithm, string>>>;
  readonly checksumType: ChecksumType;
  readonly parts: number | undefined;
  readonly version: string | undefined;
  /** Empty when the bucket forgets what it has verified. */
  readonly chunks: readonly Buffer[];
}

export interface S3Part {
  readonly etag: string;
  readonly size: number;
  readonly checksums: Readonly<Partial<Record<Algorithm, string>>>;
  readonly chunks: readonly Buffer[];
  readonly lastModified: Date;
}

export interface S3Upload {
  readonly id: string;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tags: string | undefined;
  readonly algorithm: Algorithm | undefined;
  readonly checksumType: ChecksumType | undefined;
  readonly initiated: Date;
  readonly parts: Map<number, S3Part>;
}

/** A bucket in memory. */
export class S3Bucket {
  readonly name: string;
  readonly region: string;
  readonly owner: string;
  readonly objects = new Map<string, S3Object>();
  readonly uploads = new Map<string, S3Upload>();
  /** Uploads that were completed, so that completing again answers the same. */
  readonly completed = new Map<string, S3Object>();
  /** False: verify bodies and forget them. */
  keep = true;
  versioned = false;
  /** With this message parts without a checksum are refused, as buckets with Object Lock do. */
  wantsPartSums: string | undefined;
  #sorted: string[] | undefined;

  constructor(name: string, region: string, owner: string) {
    this.name = name;
    this.region = region;
    this.owner = owner;
  }

  store(object: S3Object): void {
    if (!this.objects.has(object.key)) this.#sorted = undefined;
    this.objects.set(object.key, object);
  }

  /** Stores an object as PutObject would, with the CRC32C that a client gave, or with S3's own checksum alone. */
  put(
    key: string,
    content: string | Uint8Array,
    {
      headers = {},
      sum = 'crc32c',
      lastModified = new Date(),
    }: {
      readonly headers?: Readonly<Record<string, string>>;
      readonly sum?: Algorithm | 'none';
      readonly lastModified?: Date;
    } = {},
  ): S3Object {
    const bytes = Buffer.from(content);
    const object: S3Object = {
      key,
      size: bytes.length,
      etag: `"${hash('md5', bytes)}"`,
      lastModified,
      headers: { 'content-type': 'binary/octet-stream', ...headers },
      tags: undefined,
      checksums: sum === 'crc32c' ? { crc32c: crc32c(bytes) } : {},
      checksumType: 'FULL_OBJECT',
      parts: undefined,
      version: undefined,
      chunks: [bytes],
    };
    this.store(object);
    return object;
  }

  remove(key: string): void {
    if (this.objects.delete(key)) this.#sorted = undefined;
  }

  /** Keys in UTF-8 byte order. */
  keys(): readonly string[] {
    this.#sorted ??= [...this.objects.keys()].sort(compareKeys);
    return this.#sorted;
  }

  /** The bytes of an object, for tests to look at. */
  bytes(key: string): Buffer | undefined {
    const object = this.objects.get(key);
    return object && Buffer.concat(object.chunks);
  }
}
