import process from 'node:process';
import { asBrokerError, type BrokerError } from '../api/errors.ts';
import { InvalidPipeline } from '../pipeline/problem.ts';
import { watchOutput } from '../runtime/standard-output.ts';
import type { Cli } from './main.ts';
import { EXIT, type Output } from './output.ts';
import { version } from './version.ts';

/** Runs the command line in this process: streams, exit code, and what is shown of an error that nobody handled. */
export async function startCli(make: () => Cli, argv: readonly string[]): Promise<void> {
  const standard = watchOutput();
  const output: Output = {
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
    terminal: process.stderr.isTTY ? process.stderr : undefined,
  };
  let code: number;
  try {
    code = await make()(argv.slice(2), output, version());
  } catch (thrown) {
    code = report(thrown, output, argv);
  }
  standard.end(code);
}

/** What is shown of an error that ended a command; with --json there is one document all the same. */
function report(thrown: unknown, output: Output, argv: readonly string[]): number {
  const json = argv.includes('--json');
  if (thrown instanceof InvalidPipeline) {
    const { file, problems } = thrown;
    if (json) output.out(JSON.stringify({ outcome: 'failed', error: { code: 'invalid_config' }, file, problems }));
    else output.err(thrown.message);
    return EXIT.invalid;
  }
  const { code, id, message, hint, next }: BrokerError = asBrokerError(thrown);
  if (json)
    output.out(JSON.stringify({ outcome: next === 'wait' ? 'paused' : 'failed', error: { code, id, message, hint } }));
  else output.err(`error: ${id ?? code}: ${message}\n  ${hint}`);
  if (argv.includes('--debug') && thrown instanceof Error && thrown.stack !== undefined) output.err(thrown.stack);
  if (next === 'wait') return EXIT.paused;
  return code === 'invalid_config' ? EXIT.invalid : EXIT.failed;
}
