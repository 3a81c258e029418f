import { hash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib';
import { buildDecrypt } from '@aws-crypto/decrypt-node';
import { getClient, KMS, KmsKeyringNode } from '@aws-crypto/kms-keyring-node';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../cloud/body.ts';
import { isthmus, json } from '../faults/command.ts';
import { LASTING, type World, world } from '../faults/world.ts';

const text = 'a line of text\n'.repeat(20_000);
const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/0d5d6f1e-0000-4000-8000-000000000001';

const through = (...steps: readonly (string | object)[]) => ({
  top: { through: steps.map((step) => (typeof step === 'string' ? { use: step } : step)) },
});
const stored = ({ lake }: World, key: string): Buffer => {
  const bytes = lake.bytes(key);
  expect(bytes, `${key} is in the sink`).toBeDefined();
  return Buffer.from(bytes ?? []);
};

describe('steps between source and sink', () => {
  it('compress, under another name, and decompress to the same bytes', async () => {
    await using w = await world();
    w.bucket.put('logs/a.txt', text, { contentType: 'text/plain', metadata: { owner: 'me' } });
    const report = await w.carry(through('gzip'));
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(gunzipSync(stored(w, 'logs/a.txt.gz')).toString()).toBe(text);
    expect(w.lake.objects.get('logs/a.txt.gz')?.headers['content-type']).toBe('application/gzip');
    expect(w.lake.objects.get('logs/a.txt.gz')?.headers['x-amz-meta-owner']).toBe('me');
    const back = await w.carry(through('gunzip', 'gzip', 'gunzip'));
    expect(back.items.written).toBe(1);
    expect(stored(w, 'logs/a.txt').toString()).toBe(text);
  });

  it('tell which proof there is in place of the source’s, in the report and in each receipt', async () => {
    await using w = await world();
    w.bucket.put('a', text);
    const top = { ...through('gzip').top, receipts: { use: 's3', with: { bucket: 'state', region: 'eu-west-1' } } };
    const { details } = await w.carry({ top });
    expect(details?.[0]?.facts).toMatchObject({
      steps: 'gzip',
      made: 1,
      proof: expect.stringContaining('confirmed the checksum of what was made'),
    });
    const state = w.cloud.s3.buckets.get('state');
    const kept = [...(state?.objects.keys() ?? [])].find((key) => key.endsWith('.jsonl')) ?? 'none';
    const lines = Buffer.from(state?.bytes(kept) ?? []).toString();
    expect(lines).toContain('"made":"gzip"');
    expect(lines).toContain(crc32c(stored(w, 'a.gz')));
  });

  it('leave the proof of what they do not touch: only its name is another', async () => {
    await using w = await world();
    w.bucket.put('in/a.csv', text);
    const { details } = await w.carry(through({ use: 'rename', with: { template: 'out/{stem}{ext}' } }));
    expect(details).toBeUndefined();
    expect(stored(w, 'out/a.csv').toString()).toBe(text);
    expect((await w.carry(through({ use: 'rename', with: { template: 'out/{stem}{ext}' } }))).items.unchanged).toBe(1);
  });

  it('make nothing anew that was made of the same version, and make it anew when the steps change', async () => {
    await using w = await world();
    w.bucket.put('a', text);
    await w.carry(through('gzip'));
    expect((await w.carry(through('gzip'))).items).toMatchObject({ written: 0, unchanged: 1 });
    expect((await w.carry(through({ use: 'gzip', with: { level: 9 } }))).items).toMatchObject({ written: 1 });
    w.bucket.put('a', 'other bytes');
    expect((await w.carry(through({ use: 'gzip', with: { level: 9 } }))).items).toMatchObject({ written: 1 });
    expect(gunzipSync(stored(w, 'a.gz')).toString()).toBe('other bytes');
    const verified = await isthmus(w, 'verify', await w.write(through({ use: 'gzip', with: { level: 9 } })), '--json');
    expect(json(verified)).toMatchObject({ counts: { same: 1 } });
    const deep = await isthmus(w, 'verify', await w.write(through({ use: 'gzip', with: { level: 9 } })), '--deep');
    expect(deep.code).toBe(0);
  });

  it('fail by name where content is not what they expect, and store nothing of it', async () => {
    await using w = await world();
    const whole = gzipSync(text);
    w.bucket.put('cut.gz', whole.subarray(0, whole.length - 100));
    w.bucket.put('no.gz', 'not gzip at all');
    w.bucket.put('more.gz', Buffer.concat([whole, Buffer.from('and what is not gzip')]));
    w.bucket.put('plain', 'passes');
    const report = await w.carry(through('gunzip'));
    expect(report).toMatchObject({ outcome: 'partial', items: { written: 1, failed: 3 } });
    expect(report.failures.map(({ code }) => code)).toEqual(['step_failed', 'step_failed', 'step_failed']);
    expect(report.failures.map(({ message }) => message).join()).toMatch(/^gunzip: /);
    expect([...w.lake.objects.keys()]).toEqual(['plain']);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('do not hide that the source broke off: what was read is checked before it is made', async () => {
    await using w = await world();
    w.bucket.put('a', randomBytes(300_000));
    w.cloud.gcs.faults.add('alt=media', { kind: 'corrupt-body', at: 1000 }, Number.POSITIVE_INFINITY);
    const report = await w.carry(through('gzip'));
    expect(report.failures[0]).toMatchObject({ code: 'checksum_mismatch' });
    expect(w.lake.objects.size).toBe(0);
  });

  it('compress in several parts what is large, in bounded memory, and Zstandard too', async () => {
    await using w = await world();
    const large = randomBytes(13 * 2 ** 20);
    w.bucket.put('large', large);
    const options = through({ use: 'zstd', with: { as: 'encoding' } });
    expect((await w.carry(options)).items.written).toBe(1);
    expect(zstdDecompressSync(stored(w, 'large')).equals(large)).toBe(true);
    expect(w.lake.objects.get('large')?.headers['content-encoding']).toBe('zstd');
  });

  it('leave out what a filter after a rename leaves out, and count it', async () => {
    await using w = await world();
    w.bucket.put('x/a.csv', 'a');
    w.bucket.put('x/b.txt', 'b');
    const report = await w.carry(
      through({ use: 'rename', with: { template: 'new/{name}' } }, { use: 'filter', with: { include: ['new/*.csv'] } }),
    );
    expect(report.items).toMatchObject({ written: 1, skipped: 1 });
    expect([...w.lake.objects.keys()]).toEqual(['new/a.csv']);
  });

  it('refuse two items that would get one name', async () => {
    await using w = await world();
    w.bucket.put('a', 'a');
    w.bucket.put('a.gz', gzipSync('b'));
    const report = await w.carry(through('gunzip'));
    expect(report.failures[0]).toMatchObject({ code: 'key_collision' });
  });

  it('put a checksum beside each item, of what is stored, as sha256sum reads it', async () => {
    await using w = await world();
    for (const key of ['a', 'a-b', 'd/back\\slash']) w.bucket.put(key, `${key}${text}`);
    const options = through('gzip', { use: 'checksum' });
    expect((await w.carry(options)).items.written).toBe(6);
    const made = stored(w, 'a.gz');
    expect(stored(w, 'a.gz.sha256').toString()).toBe(`${hash('sha256', made)}  a.gz\n`);
    expect(stored(w, 'd/back\\slash.gz.sha256').toString()).toMatch(/^\\[0-9a-f]{64} {2}back\\\\slash\.gz\n$/);
    expect((await w.carry(options)).items).toMatchObject({ written: 0, unchanged: 6 });
    const one = await isthmus(w, 'plan', await w.write(options), '--json');
    expect(one.code).toBe(0);
  });

  it('go on between an item and the checksum beside it', async () => {
    await using w = await world();
    for (const key of ['a', 'b', 'c']) w.bucket.put(key, key);
    const options = { top: { ...LASTING, concurrency: 1, ...through('checksum').top } };
    let seen = 0;
    const stop = new AbortController();
    await w.carry({
      ...options,
      runtime: { stop: stop.signal },
      run: { observer: { receipt: () => void (++seen === 3 && stop.abort()) } },
    });
    const report = await w.carry(options);
    expect(report.outcome).toBe('complete');
    expect([...w.lake.objects.keys()].sort()).toEqual(['a', 'a.sha256', 'b', 'b.sha256', 'c', 'c.sha256']);
  });

  it('carry one named object with what is beside it', async () => {
    await using w = await world();
    w.bucket.put('a', 'a');
    w.bucket.put('b', 'b');
    await w.carry({ ...through('checksum'), run: { only: { key: 'a' } } });
    expect([...w.lake.objects.keys()].sort()).toEqual(['a', 'a.sha256']);
  });

  it('encrypt so that the AWS Encryption SDK reads it, with a key of its own for each item', async () => {
    await using w = await world();
    w.cloud.kms.keys.set(KEY, []);
    w.bucket.put('secret.txt', text);
    w.bucket.put('second', 'short');
    const step = { use: 'encrypt', with: { kmsKeyArn: KEY, context: { pipeline: 'faults' } } };
    const report = await w.carry(through('gzip', step));
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 2 } });
    const sealed = stored(w, 'secret.txt.gz.encrypted');
    expect(sealed.includes('a line of text')).toBe(false);
    expect(w.cloud.kms.asked).toEqual(['GenerateDataKey', 'GenerateDataKey']);
    const keyring = new KmsKeyringNode({
      // Its types are not written for exactOptionalPropertyTypes.
      clientProvider: getClient(KMS as never, { endpoint: w.cloud.endpoints.kms }) as never,
      keyIds: [KEY],
    });
    const { plaintext, messageHeader } = await buildDecrypt().decrypt(keyring, sealed);
    expect(gunzipSync(plaintext).toString()).toBe(text);
    expect(messageHeader.encryptionContext).toEqual({ pipeline: 'faults' });
    // Encrypted twice it is not the same; that it was made of this version is on record.
    expect((await w.carry(through('gzip', step))).items).toMatchObject({ written: 0, unchanged: 2 });
    expect((await isthmus(w, 'verify', await w.write(through('gzip', step)), '--deep')).code).toBe(0);
  });

  it('say which right is missing where the key may not be used', async () => {
    await using w = await world();
    w.cloud.kms.keys.set(KEY, ['arn:aws:iam::111122223333:role/other']);
    w.bucket.put('a', text);
    const report = await w.carry(through({ use: 'encrypt', with: { kmsKeyArn: KEY } }));
    expect(report.failures[0]).toMatchObject({
      code: 'permission_denied',
      message: expect.stringContaining('kms:GenerateDataKey'),
    });
    const { out } = await isthmus(
      w,
      'permissions',
      await w.write(through({ use: 'encrypt', with: { kmsKeyArn: KEY } })),
    );
    expect(out.join('\n')).toContain('kms:GenerateDataKey');
  });

  it('are applied from a saved plan as they are in a run', async () => {
    await using w = await world();
    w.bucket.put('a', text);
    const file = await w.write(through('gzip', 'checksum'));
    const plan = join(w.folder, 'plan.jsonl');
    await isthmus(w, 'plan', file, '--out', plan);
    expect((await readFile(plan, 'utf8')).includes('"made"')).toBe(true);
    expect((await isthmus(w, 'apply', plan, '--pipeline', file)).code).toBe(0);
    expect([...w.lake.objects.keys()].sort()).toEqual(['a.gz', 'a.gz.sha256']);
    w.bucket.put('a', 'newer');
    await w.write(through('gzip', 'checksum'));
    const stale = await isthmus(w, 'apply', plan, '--pipeline', file, '--json');
    expect(stale.code).not.toBe(0);
  });

  it.each([
    ['move with what is made', { through: [{ use: 'gzip' }], move: true }, 'does not prove what is deleted'],
    ['delete with other keys', { through: [{ use: 'gzip' }], delete: { extras: true } }, 'cannot be told'],
    ['checksum before gzip', { through: [{ use: 'checksum' }, { use: 'gzip' }] }, 'Put checksum last'],
    [
      'checksum of what is never the same twice',
      { through: [{ use: 'encrypt', with: { kmsKeyArn: KEY } }, { use: 'checksum' }] },
      'not the same twice',
    ],
    ['a name alone', { through: ['gzip'] }, 'a step is written - { use: gzip }'],
    ['a name with options', { through: [{ gzip: { level: 9 } }] }, 'a step is written - { use: gzip, with: { … } }'],
    ['no list', { through: { use: 'gzip' } }, 'must be a list of steps'],
    ['an unknown step', { through: [{ use: 'gzp' }] }, 'did you mean "gzip"?'],
  ])('are refused by name: %s', async (_, top, message) => {
    await using w = await world();
    const { code, err } = await isthmus(w, 'validate', await w.write({ top }));
    expect(code).toBe(2);
    expect(err.join('\n')).toContain(message);
  });
});
