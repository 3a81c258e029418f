/**
 * `npm run demo:lambda FUNCTION.ZIP`: a packaged function under AWS's own Lambda Runtime Interface Emulator, with the
 * Node.js runtime interface client, against the local cloud. Builds both at the first start (needs Go and a C++ compiler).
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { unzipSync } from 'fflate';
import type { Finding } from '../../core/doctor/finding.ts';
import { lines, verdict } from '../../core/doctor/render.ts';
import { localCloud } from '../cloud/local-cloud.ts';
import { startEmulator } from '../compat/emulator.ts';
import { install, installRuntimeClient } from '../compat/servers.ts';
import { seed } from './seed.ts';

const say = (text = ''): void => void process.stdout.write(`${text}\n`);
const title = (text: string): void => say(`\n── ${text} ${'─'.repeat(Math.max(3, 76 - text.length))}\n`);

const zip = process.argv[2];
if (zip === undefined) {
  say('npm run demo:lambda dist/NAME/function.zip     (isthmus package pipeline.example.yaml makes one)');
  process.exit(2);
}
const programs = { emulator: install(['aws-lambda-rie'])['aws-lambda-rie'], runtimeClient: installRuntimeClient() };
const folder = await mkdtemp(join(tmpdir(), 'isthmus-demo-'));
for (const [name, bytes] of Object.entries(unzipSync(await readFile(zip)))) await writeFile(join(folder, name), bytes);
await using cloud = await localCloud();
const bucket = seed(cloud);
await using emulator = await startEmulator({ ...programs, folder, environment: cloud.environment });

async function invoke(event: object): Promise<Record<string, unknown>> {
  const began = performance.now();
  const { text } = await emulator.invoke(event);
  say(`   $ aws lambda invoke … --payload '${JSON.stringify(event)}'      ${Math.round(performance.now() - began)} ms`);
  return JSON.parse(text) as Record<string, unknown>;
}
function show({ durationMs: _, items, findings: _findings, ...answer }: Record<string, unknown>): void {
  const told = { ...answer, ...(items === undefined ? {} : { items }) };
  for (const line of JSON.stringify(told, null, 2).split('\n')) say(`   ${line}`);
  say();
}

title('1. The doctor, in the function');
const examined = await invoke({ doctor: true });
const findings = (examined.findings ?? []) as Finding[];
for (const finding of findings) for (const line of lines(finding)) say(`   ${line}`);
for (const line of verdict(findings, Number(examined.exitCode), false)) say(`   ${line}`);

title('2. A schedule: the whole pipeline; once more: nothing to do');
const schedule = { 'detail-type': 'Scheduled Event', source: 'aws.events', detail: {} };
const first = await invoke(schedule);
show(first);
show(await invoke(schedule));

title('3. A single object, as the functions that people write by hand answer');
bucket.put('2026/report.json', '{"ok":true,"version":2}', { contentType: 'application/json' });
const single = await invoke({ object: '2026/report.json' });
show(single);

title('4. What must not work, fails, and says why');
show(await invoke({ object: 'gs://somebody-elses/secret' }));

title('5. Its log: one JSON line an event, metrics in the embedded format');
const logged = emulator
  .output()
  .split('\n')
  .filter((line) => line.startsWith('{') && !line.includes('"doctor"'));
for (const line of [...logged.slice(1, 4), ...logged.filter((one) => /"run finished"|"_aws"/.test(one)).slice(0, 2)])
  say(`   ${line.length > 400 ? `${line.slice(0, 400)}…` : line}`);

await rm(folder, { recursive: true, force: true });
const asPromised = examined.exitCode === 0 && first.outcome === 'complete' && single.bytes_transferred === 23;
if (!asPromised) {
  say('\n   The demo did not do what it promises.');
  process.exitCode = 1;
}
