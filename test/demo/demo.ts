/**
 * `npm run demo`: the reference pipeline against the local cloud. Real HTTP, a real token exchange, every signature
 * and checksum verified by the other side; no account, no network.
 */
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { formatBytes } from '../../core/api/index.ts';
import { summary, table } from '../../core/cli/output.ts';
import type { Receipt } from '../../core/engine/receipt.ts';
import type { Report } from '../../core/engine/report.ts';
import { run } from '../../core/engine/run.ts';
import { localCloud } from '../cloud/local-cloud.ts';
import { seed } from './seed.ts';

const PIPELINE = fileURLToPath(new URL('../../pipeline.example.yaml', import.meta.url));
const say = (text = ''): void => void process.stdout.write(`${text}\n`);
const title = (text: string): void => say(`\n── ${text} ${'─'.repeat(Math.max(3, 76 - text.length))}\n`);

await using cloud = await localCloud();
const bucket = seed(cloud);
// What AWS Lambda gives a function: the session of its role. The AWS SDK looks for it here.
Object.assign(process.env, cloud.environment);

title('1. The keyless chain, as it happens');
say('   This process runs as an AWS role and holds no right in Google Cloud at all.\n');
const STEPS: Readonly<Record<string, string>> = {
  'aws-source': 'AWS gave this process temporary credentials',
  'aws-identity': 'AWS STS says who we are; it is who `expect` names',
  'subject-token': 'Signed a GetCallerIdentity request, target provider included; not sent to AWS',
  'google-sts': 'Google verified the signature and lent a federated token',
  impersonation: 'The service account lent its rights',
};
let number = 0;
let narrate = true;
const step = (what: string, detail: string): void => {
  if (narrate) say(`   ${++number}. ${what}\n      ${detail}`);
};
cloud.googleSts.onExchange = ({ arn, principal }) => {
  step('Google asked AWS who signed it, byte for byte', `${arn}\n      is now ${principal}`);
};

const jobs = compose(process.env).get(tokens.jobs);
const silent = { debug: () => {}, info: () => {}, warn: () => {} };
const signal = new AbortController().signal;
const runtime = { signal, stop: signal, log: silent, now: Date.now };

async function carry(): Promise<{ report: Report; receipts: Receipt[] }> {
  const receipts: Receipt[] = [];
  await using open = await jobs.open(PIPELINE, {
    log: silent,
    now: Date.now,
    onAuth: ({ step: name, detail }) => step(STEPS[name] ?? name, detail),
  });
  const report = await run(open.job, { runtime, observer: { receipt: (receipt) => void receipts.push(receipt) } });
  receipts.sort((a, b) => (a.key < b.key ? -1 : 1));
  return { report, receipts };
}

function show({ report, receipts }: Awaited<ReturnType<typeof carry>>): void {
  const rows = receipts.map((receipt) => {
    const stored = cloud.s3.buckets.get('acme-lake')?.objects.get(`raw/${receipt.key}`);
    const crc32c = stored?.checksums.crc32c ?? '';
    const proved = crc32c === bucket.get(`2026/${receipt.key}`)?.crc32c ? crc32c : 'DIFFERENT';
    return [
      `   ${receipt.key}`,
      formatBytes(stored?.size ?? 0),
      stored?.headers['content-type'] ?? '',
      stored?.headers['content-encoding'] ?? '',
      proved,
      `${receipt.outcome} (${receipt.reason})`,
    ];
  });
  for (const line of table([['   KEY', 'SIZE', 'TYPE', 'ENCODING', 'CRC32C, GCS = S3', 'OUTCOME'], ...rows])) say(line);
  say();
  for (const line of summary(report)) say(`   ${line}`);
}

const first = await carry();
title('2. What it carried; S3 verified each object by the checksum that GCS publishes');
show(first);

title('3. Once more: nothing to do, and no data read');
narrate = false;
const second = await carry();
show(second);

title('4. One object is overwritten: only it moves');
bucket.put('2026/report.json', '{"ok":true,"version":2}', { contentType: 'application/json' });
const third = await carry();
show(third);

const asPromised =
  first.report.outcome === 'complete' &&
  first.report.items.written === 8 &&
  second.report.items.unchanged === 8 &&
  third.report.items.written === 1 &&
  cloud.s3.pendingUploads() === 0;
say(`\n   Next: README.md, or \`npm run -s isthmus -- validate pipeline.example.yaml\`\n`);
if (!asPromised) {
  say('   The demo did not do what it promises.');
  process.exitCode = 1;
}
