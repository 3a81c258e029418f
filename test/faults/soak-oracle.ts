import type { World } from './world.ts';

/**
 * Compares the sink with the source byte for byte, and looks for what nobody may leave behind.
 *
 * @param exact whether the sink may hold nothing else.
 * @returns a sentence for each thing that is wrong.
 */
export async function oracle({ bucket, lake, cloud }: World, exact: boolean): Promise<string[]> {
  const wrong: string[] = [];
  const wanted = new Set<string>();
  for (const { name, crc32c, body } of bucket.from('')) {
    if (name === '') continue;
    wanted.add(name);
    const object = lake.objects.get(name);
    if (object === undefined) wrong.push(`"${name}" is missing`);
    else if (object.checksums.crc32c !== crc32c || object.size !== body.size)
      wrong.push(`"${name}" has another checksum`);
    else if (lake.bytes(name)?.equals(Buffer.concat(await Array.fromAsync(body.read(0, body.size)))) !== true)
      wrong.push(`"${name}" has other bytes`);
  }
  if (exact) for (const key of lake.keys()) if (!wanted.has(key)) wrong.push(`"${key}" is in no source`);
  if (cloud.s3.pendingUploads() > 0) wrong.push(`${cloud.s3.pendingUploads()} uploads are left`);
  for (const key of cloud.s3.buckets.get('state')?.keys() ?? [])
    if (!key.includes('history')) wrong.push(`the state ${key} is left`);
  return wrong;
}
