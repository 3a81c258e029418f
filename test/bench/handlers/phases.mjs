/** Plans a distributed run with a packaged function, phase by phase, as its state machine does; a range at a time. */
import process from 'node:process';

const { handler } = await import(process.argv[2]);
let id = 0;
const ask = (event) => {
  const deadline = Date.now() + 900_000;
  return handler(
    { distributed: event },
    {
      awsRequestId: String(++id),
      invokedFunctionArn: 'arn:aws:lambda:eu-west-1:111122223333:function:bench',
      getRemainingTimeInMillis: () => deadline - Date.now(),
    },
  );
};
const times = {};
const timed = async (name, work) => {
  const started = performance.now();
  const answer = await work();
  times[name] = (times[name] ?? 0) + performance.now() - started;
  return answer;
};
const plan = await timed('plan', () => ask({ phase: 'plan', execution: process.argv[3], input: {} }));
const { run, attempt, ranges } = plan;
for (const range of ranges)
  for (let answer; answer?.outcome !== 'planned'; )
    answer = await timed('list', () => ask({ phase: 'list', run, attempt, range }));
const gathered = await timed('gather', () => ask({ phase: 'gather', run, attempt }));
process.stdout.write(`${JSON.stringify({ ...gathered, ranges: ranges.length, times })}\n`);
