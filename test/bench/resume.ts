/**
 * `npm run bench:resume`: one object of 2 GiB, carried by processes of which five are killed (SIGKILL) on the way, and
 * what of it was sent more than once.
 */
import { arch, cpus, totalmem, type } from 'node:os';
import process from 'node:process';
import { patternBody } from '../cloud/body.ts';
import type { Seen } from '../cloud/faults.ts';
import { runProcess } from '../faults/killed.ts';
import { LASTING, world } from '../faults/world.ts';

const MIB = 2 ** 20;
const PART = 8 * MIB;
const SIZE = 2048 * MIB;
const KILLS = 5;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

await using w = await world();
w.lake.keep = false;
w.bucket.put('large', patternBody(SIZE));
const parts = SIZE / PART;
say(
  `${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
say(`one object of ${SIZE / MIB} MiB in ${parts} parts of ${PART / MIB} MiB, 4 at once\n`);
say('| process | ended | parts that S3 took | of these again |');
say('|---|---|---|---|');
const taken = new Map<number, number>();
for (let number = 1; number <= KILLS + 1; number++) {
  const before = w.cloud.s3.requests.length;
  let begun = 0;
  const killAt = ({ target }: Seen): boolean =>
    number <= KILLS && target.includes('partNumber=') && ++begun > parts / (KILLS + 2);
  const file = await w.write({ top: LASTING, sink: { partSize: `${PART / MIB}MiB` } });
  const { code, out } = await runProcess(w, ['run', file, '--json'], killAt);
  const sent = w.cloud.s3.requests
    .slice(before)
    .filter(({ target, status }) => target.includes('partNumber=') && status === 200)
    .map(({ target }) => Number(/partNumber=(\d+)/.exec(target)?.[1]));
  const again = sent.filter((part) => taken.has(part)).length;
  for (const part of sent) taken.set(part, (taken.get(part) ?? 0) + 1);
  const { outcome, bytes } =
    code === null ? { outcome: 'killed', bytes: 0 } : (JSON.parse(out) as { outcome: string; bytes: number });
  say(`| ${number} | ${outcome}${bytes > 0 ? `, ${bytes} bytes` : ''} | ${sent.length} | ${again} |`);
}
const total = [...taken.values()].reduce((sum, count) => sum + count, 0);
const lost = w.cloud.s3.requests.filter(
  ({ target, status }) => target.includes('partNumber=') && status !== 200,
).length;
say(
  `\nsent again: ${((total - parts) * PART) / MIB} MiB in parts that S3 had; under way when a process was killed: ${lost} parts, at most ${(lost * PART) / MIB} MiB`,
);
say(
  `in S3: ${w.lake.objects.get('large')?.checksums.crc32c === w.bucket.get('large')?.crc32c ? 'the checksum that the source publishes' : 'ANOTHER CHECKSUM'}; uploads left: ${w.cloud.s3.pendingUploads()}`,
);
