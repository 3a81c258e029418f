import process from 'node:process';
import { asBrokerError, BrokerError } from '../core/api/index.ts';
import { InvalidPipeline } from '../core/pipeline/problem.ts';
import { applyOnce, runOnce } from '../core/runtime/container.ts';
import { EXIT } from '../core/runtime/exit.ts';
import type { Meter } from '../core/runtime/figures.ts';
import { emfMeter } from '../core/runtime/lambda/emf.ts';
import { logFields } from '../core/runtime/logger.ts';
import { processRuntime } from '../core/runtime/process.ts';
import { secondsIn } from '../core/runtime/seconds.ts';
import { shareIn } from '../core/runtime/share.ts';
import { watchOutput } from '../core/runtime/standard-output.ts';
import { type Packaged, packaged } from './packaged.ts';

const metered = (env: NodeJS.ProcessEnv, write: (line: string) => void): Meter =>
  env.ISTHMUS_METRICS === 'emf' ? emfMeter(write) : () => {};

/**
 * The container of one packaged pipeline: `run` (the default) carries it once, `apply` a saved plan, `serve` waits for
 * pushes.
 */
export async function container(given: Packaged): Promise<void> {
  const { env, argv } = process;
  // A user without a home, as any number may be one: the AWS SDK would fail where it looks for a profile there.
  if (env.HOME === undefined) env.HOME = '/nonexistent';
  const standard = watchOutput();
  const { ready, log, write, verify } = packaged(given);
  try {
    const graceMs = secondsIn(env, 'ISTHMUS_GRACE');
    const [command = 'run'] = argv.slice(2);
    if (command === 'run') {
      const run = () => runOnce({ load: () => ready(metered(env, write)), log, graceMs, out: write });
      standard.end(await logFields.run({}, run));
    } else if (command === 'apply') {
      const [plan, option, shard] = argv.slice(3);
      if (plan === undefined || (option !== undefined && (option !== '--shard' || shard === undefined)))
        throw new BrokerError('invalid_config', 'apply needs a plan', { hint: 'apply PLAN [--shard i/n]' });
      const share = shareIn(shard, env);
      const apply = () => applyOnce({ load: () => ready(metered(env, write)), log, graceMs, out: write, plan, share });
      standard.end(await logFields.run({}, apply));
    } else if (command === 'serve') {
      using runtime = processRuntime(log, graceMs);
      const { serve } = await import('../core/runtime/serve/server.ts');
      const port = Number(env.PORT ?? 8080);
      await (await serve({ ready, verify, runtime, port })).stopped;
    } else
      throw new BrokerError('invalid_config', `"${command}" is no command here`, { hint: 'Use run, apply or serve.' });
  } catch (thrown) {
    if (thrown instanceof InvalidPipeline) log.warn('invalid pipeline', { message: thrown.message });
    const { code, message, hint, next } = asBrokerError(thrown);
    if (!(thrown instanceof InvalidPipeline)) log.warn('failed', { code, message, hint });
    const invalid = thrown instanceof InvalidPipeline || code === 'invalid_config';
    standard.end(invalid ? EXIT.invalid : next === 'wait' ? EXIT.paused : EXIT.failed);
  }
}
