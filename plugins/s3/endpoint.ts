import { BrokerError, encodeForAws } from '../../core/api/index.ts';
import type { S3Place } from './client.ts';

/** Where a bucket is reached. */
export interface S3Address {
  /** `https://bucket.s3.eu-west-1.amazonaws.com` */
  readonly origin: string;
  /** As the Host header has it. */
  readonly host: string;
  /** Before the key: `/`, or `/bucket/`. */
  readonly path: string;
}

/** By what a region begins with. Source: https://docs.aws.amazon.com/general/latest/gr/s3.html, and the endpoint rules of the SDKs. */
const DOMAINS: readonly (readonly [string, string])[] = [
  ['cn-', 'amazonaws.com.cn'],
  ['eusc-', 'amazonaws.eu'],
  ['us-iso-', 'c2s.ic.gov'],
  ['us-isob-', 'sc2s.sgov.gov'],
  ['eu-isoe-', 'cloud.adc-e.uk'],
  ['us-isof-', 'csp.hci.ic.gov'],
];

/** The host of S3 in a region. @param name `s3`, or with FIPS or IPv6: `s3-fips`, `s3.dualstack`, `s3-fips.dualstack`. */
export const s3Host = (region: string, name = 's3'): string =>
  `${name}.${region}.${DOMAINS.find(([begin]) => region.startsWith(begin))?.[1] ?? 'amazonaws.com'}`;

/** @param endpoint another server that speaks S3, if there is one. */
export function addressOf(
  { bucket, forcePathStyle = undefined }: Pick<S3Place, 'bucket' | 'forcePathStyle'>,
  region: string,
  endpoint: string | undefined,
  name?: string | undefined,
): S3Address {
  if (bucket.endsWith('--x-s3'))
    throw new BrokerError('invalid_config', `${bucket} is a directory bucket (S3 Express), which is not supported`, {
      hint: 'Use a general purpose bucket.',
    });
  const base = new URL(endpoint ?? `https://${s3Host(region, name)}`);
  // The certificate of S3 covers one label: no dots.
  const byPath = forcePathStyle ?? (endpoint !== undefined || bucket.includes('.'));
  const host = byPath ? base.host : `${bucket}.${base.host}`;
  const below = base.pathname.replace(/\/$/, '');
  return { origin: `${base.protocol}//${host}`, host, path: byPath ? `${below}/${bucket}/` : `${below}/` };
}

/** A key in a path: slashes stay, and no part of it is resolved or joined. */
export const keyPath = (key: string): string => (PLAIN.test(key) ? key : encodeForAws(key).replaceAll('%2F', '/'));

/** What is the same when it is encoded. */
const PLAIN = /^[A-Za-z0-9_.~/-]*$/;
