import { join } from 'node:path';
import type { Stored } from '../../core/cli/offline.ts';
import type { Pipeline } from '../../core/pipeline/validate.ts';
import { crc32c } from '../../test/cloud/body.ts';
import type { LocalCloud } from '../../test/cloud/local-cloud.ts';
import { fixturesIn } from './fixtures.ts';

const KEPT = ['content-type', 'content-encoding', 'cache-control', 'content-disposition', 'content-language'] as const;
const METADATA = 'x-amz-meta-';

/** What the sinks of a pipeline hold in the local cloud. */
export async function storedIn({ sinks }: Pipeline, cloud: LocalCloud): Promise<readonly Stored[]> {
  const all = await Promise.all(
    sinks.map(async ({ plugin, config }, number): Promise<readonly Stored[]> => {
      const { bucket = '', prefix = '', path = '' } = config as { bucket?: string; prefix?: string; path?: string };
      if (plugin.name === 's3') return inS3(cloud, bucket, prefix);
      if (plugin.name === 'gcs') return inGcs(cloud, bucket, prefix);
      return plugin.name === 'file' ? inFolder(path, sinks.length === 1 ? 'file' : `file.${number}`) : [];
    }),
  );
  return all.flat();
}

function inS3(cloud: LocalCloud, name: string, prefix: string): readonly Stored[] {
  const bucket = cloud.s3.buckets.get(name);
  return (bucket?.keys() ?? [])
    .filter((key) => key.startsWith(prefix))
    .map((key) => {
      const { size = 0, headers = {} } = bucket?.objects.get(key) ?? {};
      const metadata = Object.entries(headers).filter(([header]) => header.startsWith(METADATA));
      return {
        place: `s3://${name}/${prefix}`,
        key: key.slice(prefix.length),
        size,
        crc32c: crc32c(bucket?.bytes(key) ?? Buffer.alloc(0)),
        headers: Object.fromEntries(KEPT.flatMap((header) => (headers[header] ? [[header, headers[header]]] : []))),
        metadata: metadataOf(metadata.map(([header, value]) => [header.slice(METADATA.length), value])),
      };
    });
}

function inGcs(cloud: LocalCloud, name: string, prefix: string): readonly Stored[] {
  return [...(cloud.gcs.buckets.get(name)?.from(prefix) ?? [])]
    .filter((object) => object.name.startsWith(prefix))
    .map((object) => ({
      place: `gs://${name}/${prefix}`,
      key: object.name.slice(prefix.length),
      size: Number(object.size),
      crc32c: object.crc32c ?? '',
      headers: object.contentType === undefined ? {} : { 'content-type': object.contentType },
      metadata: metadataOf(Object.entries(object.metadata ?? {})),
    }));
}

async function inFolder(path: string, place: string): Promise<readonly Stored[]> {
  const files = await fixturesIn(join(path));
  return files
    .map(({ key, bytes }) => ({
      place,
      key,
      size: bytes.length,
      crc32c: crc32c(bytes),
      headers: {},
      metadata: {},
    }))
    .sort((one, other) => Buffer.compare(Buffer.from(one.key), Buffer.from(other.key)));
}

/** What a run itself writes there hangs on versions, which are others in each run. */
const metadataOf = (entries: readonly (readonly [string, string])[]): Readonly<Record<string, string>> =>
  Object.fromEntries(entries.filter(([name]) => !['isthmus-origin', 'isthmus-source'].includes(name)));
