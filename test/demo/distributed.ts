/**
 * `npm run demo:distributed`: a packaged pipeline over many functions: its state machine on the Step Functions interpreter
 * of moto, its function under AWS's Lambda Runtime Interface Emulator, against the local cloud. Builds what it needs at the
 * first start (Go, a C++ compiler, CMake and Python 3).
 */
import { arch, cpus, type } from 'node:os';
import process from 'node:process';
import type { Fault } from '../cloud/faults.ts';
import { install, installRuntimeClient, installStepFunctions } from '../compat/servers.ts';
import type { Execution } from '../compat/step-functions/engine.ts';
import { deploy } from '../compat/step-functions/function.ts';
import { different, fill, summary, world } from '../compat/step-functions/world.ts';
import { pipelineData } from '../lambda/function.ts';

const OBJECTS = Number(process.argv[2] ?? 20_000);
const REFUSED: Fault = { kind: 'answer', status: 403, body: '{"error":{"code":403,"message":"denied"}}' };
const say = (text = ''): void => void process.stdout.write(`${text}\n`);
const title = (text: string): void => say(`\n── ${text} ${'─'.repeat(Math.max(3, 76 - text.length))}\n`);

const programs = {
  emulator: install(['aws-lambda-rie'])['aws-lambda-rie'],
  runtimeClient: installRuntimeClient(),
  python: installStepFunctions(),
};
say(`${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`);
await using all = await world(programs, { shardItems: 500, maxConcurrency: 8 });
fill(all, OBJECTS);

let [transfers, carried, killed, throttled] = [0, 0, 0, 0];
async function run(input: object): Promise<Execution> {
  say(`   $ aws stepfunctions start-execution … --input '${JSON.stringify(input)}'`);
  const began = performance.now();
  const execution = await all.run(input);
  say(`   ${execution.status} after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  say(`   history: ${summary(execution)}`);
  const told = execution.output?.message ?? JSON.parse(execution.cause ?? '{}').errorMessage;
  say(`   ${execution.error === undefined ? '' : `${execution.error}: `}${told}`);
  return execution;
}

title(`1. ${OBJECTS} objects: one child is killed in the middle, one is throttled, two objects cannot be read`);
all.cloud.gcs.faults.add(/2026%2F000(?:321|999)\?/, REFUSED, Number.POSITIVE_INFINITY);
all.meddle = async (event, carry) => {
  if (event.distributed.phase !== 'transfer') return await carry(event);
  const number = ++transfers;
  if (number === 3) {
    throttled++;
    return { throttled: true };
  }
  if (number !== 5) return await carry(event);
  carried = all.sink.objects.size;
  return await carry(event, async (emulator) => {
    while (all.sink.objects.size < Math.min(carried + 100, OBJECTS - 2))
      await new Promise((resolve) => setImmediate(resolve));
    killed++;
    await emulator.kill();
  });
};
await run({});
say(`   children killed: ${killed}, throttled: ${throttled}; the state machine tried them again`);

title('2. Over what failed, now that it can be read');
all.cloud.gcs.faults.clear();
transfers = 100;
await run({ again: true });

title('3. Once more: nothing to do');
await run({});
const missing = different(all, OBJECTS);
say(
  `\n   ${OBJECTS - missing.length} of ${OBJECTS} objects have the checksum of their source; ${all.cloud.s3.pendingUploads()} uploads are left`,
);

title('4. What it costs: the same objects undisturbed, by the state machine and by one invocation of one function');
for (const key of [...all.sink.objects.keys()]) all.sink.remove(key);
all.meddle = (event, carry) => carry(event);
const undisturbed = await run({});
const map = undisturbed.events.filter(({ type }) => /^MapRun(?:Started|Succeeded)$/.test(type));
const seconds = map.length === 2 ? Number(map[1]?.timestamp) - Number(map[0]?.timestamp) : Number.NaN;
say(
  `   of that the Map Run: ${seconds.toFixed(1)} s, by ${all.deployed.environments} environments on ${cpus().length} processors`,
);
all.cloud.s3.bucket('alone');
const alone = pipelineData({
  name: 'alone',
  sink: { use: 's3', with: { bucket: 'alone', region: 'eu-west-1' } },
  state: { use: 's3', with: { bucket: 'state', prefix: 'alone/', region: 'eu-west-1' } },
});
await using single = await deploy(programs, alone, all.cloud.environment, 600);
const began = performance.now();
const answer = await single.invoke({});
say(
  `   one invocation: ${((performance.now() - began) / 1000).toFixed(1)} s: ${'ok' in answer ? (answer.ok as { message: string }).message : JSON.stringify(answer)}`,
);
process.exitCode = missing.length === 0 ? 0 : 1;
