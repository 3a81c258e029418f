import type { Grant, Use } from '../../core/api/index.ts';
import type { S3Config } from './config.ts';
import type { S3SourceConfig } from './source-config.ts';

/**
 * What the sink asks of S3, action by action. s3:DeleteObject only where the pipeline deletes what no source has.
 * Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
 */
export function s3Grants(config: S3Config, use: Use = {}): readonly Grant[] {
  const { bucket, prefix, identity, encryption, kmsKeyId, tags, region } = config;
  const partition = partitionOf(region);
  const place = `s3://${bucket}/${prefix}`;
  const below = `${literal(prefix)}*`;
  const grants: Grant[] = [
    {
      cloud: 'aws',
      identity,
      actions: [
        's3:PutObject',
        ...(use.deletes === true ? ['s3:DeleteObject'] : []),
        ...(tags === undefined ? [] : ['s3:PutObjectTagging']),
        's3:AbortMultipartUpload',
        // To go on with an upload that another process has begun.
        's3:ListMultipartUploadParts',
        // HEAD: comparing checksums reads metadata only.
        's3:GetObject',
      ],
      resources: [`arn:${partition}:s3:::${bucket}/${below}`],
      reason: `write to ${place}, and read the checksums of what is there`,
    },
    {
      cloud: 'aws',
      identity,
      actions: ['s3:ListBucket'],
      resources: [`arn:${partition}:s3:::${bucket}`],
      ...(prefix === '' ? {} : { condition: { StringLike: { 's3:prefix': below } } }),
      reason: `list ${place}`,
    },
    {
      cloud: 'aws',
      identity,
      // For whole buckets only: AWS knows no condition for it.
      actions: ['s3:ListBucketMultipartUploads'],
      resources: [`arn:${partition}:s3:::${bucket}`],
      reason: `find the uploads that a killed run has left below ${place}`,
    },
  ];
  // An alias has no ARN without the account, so it is pinned by its name.
  const alias = kmsKeyId?.replace(/^arn:aws[a-z-]*:kms:[^:]+:\d{12}:/, '');
  if (encryption === 'aws:kms' || encryption === 'aws:kms:dsse') {
    grants.push({
      cloud: 'aws',
      identity,
      actions: ['kms:GenerateDataKey', 'kms:Decrypt'],
      resources: [
        kmsKeyId === undefined || alias?.startsWith('alias/')
          ? `arn:${partition}:kms:${region ?? '*'}:*:key/*`
          : keyArn(kmsKeyId, partition),
      ],
      condition: {
        ...(alias?.startsWith('alias/') ? { 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': alias } } : {}),
        StringLike: { 'kms:ViaService': `s3.*.amazonaws.com${partition === 'aws-cn' ? '.cn' : ''}` },
      },
      reason: `encrypt with the KMS key${kmsKeyId === undefined ? ' of the bucket' : ` ${kmsKeyId}`}`,
    });
  }
  return grants;
}

/** What the source asks of S3. A key of KMS that encrypts the objects is the bucket's, and not known here. */
export function s3SourceGrants(config: S3SourceConfig, use: Use = {}): readonly Grant[] {
  const { bucket, prefix, identity, region } = config;
  const partition = partitionOf(region);
  const place = `s3://${bucket}/${prefix}`;
  const below = `${literal(prefix)}*`;
  const deletes = use.deletes === true;
  return [
    {
      cloud: 'aws',
      identity,
      actions: ['s3:GetObject', ...(deletes ? ['s3:DeleteObject'] : [])],
      resources: [`arn:${partition}:s3:::${bucket}/${below}`],
      reason: `read ${place}${deletes ? ', and delete what was moved' : ''}`,
    },
    {
      cloud: 'aws',
      identity,
      actions: ['s3:ListBucket'],
      resources: [`arn:${partition}:s3:::${bucket}`],
      ...(prefix === '' ? {} : { condition: { StringLike: { 's3:prefix': below } } }),
      reason: `list ${place}`,
    },
  ];
}

/**
 * A text that a policy takes as it is: a `*` of a prefix must not become a wildcard.
 * Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
 */
export const literal = (text: string): string => text.replace(/[*?$]/g, (character) => `$\{${character}}`);

/** A bare id is of this account and of the region of the bucket. */
const keyArn = (id: string, partition: string): string =>
  id.startsWith('arn:') ? id : `arn:${partition}:kms:*:*:key/${id}`;

/** Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html */
export const partitionOf = (region: string | undefined): string =>
  region?.startsWith('cn-') ? 'aws-cn' : region?.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
