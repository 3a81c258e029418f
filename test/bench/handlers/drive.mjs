/** Runs a handler in a cold process: imports it, carries one object, then as many warm ones as are asked for. */
import process from 'node:process';

const [, , file, bucket, prefix, warm = '0'] = process.argv;
const context = {
  awsRequestId: 'bench',
  invokedFunctionArn: 'arn:aws:lambda:eu-west-1:111122223333:function:isthmus-bench',
  getRemainingTimeInMillis: () => 900_000,
};
const name = (number) => (prefix === 'object' ? 'object' : `s/${String(number).padStart(9, '0')}`);
const begun = performance.now();
const { handler } = await import(file);
const importMs = performance.now() - begun;
const carry = async (number) => {
  const answer = await handler({ bucket, object: name(number) }, context);
  const good = answer.outcome === 'complete' || answer.statusCode === 200;
  if (!good) throw new Error(JSON.stringify(answer));
};
await carry(process.pid % 10_000);
const firstMs = performance.now();
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const cpuMs = [];
for (let number = 0; number < Number(warm); number++) {
  const before = cpu();
  await carry(10_000 + (process.pid % 1000) * 80 + number);
  cpuMs.push(cpu() - before);
}
process.stdout.write(
  `${JSON.stringify({ importMs, firstMs, cpuMs, totalCpuMs: cpu(), peakMiB: process.resourceUsage().maxRSS / 1024 })}\n`,
);
process.exit(0);
