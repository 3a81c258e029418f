import process from 'node:process';
import { asBrokerError, type BrokerError } from '../api/errors.ts';
import { InvalidPipeline } from '../pipeline/problem.ts';
import type { Cli } from './main.ts';
import { EXIT, type Output } from './output.ts';
import { version } from './version.ts';

/** Runs the command line in this process: streams, exit code, and what is shown of an error that nobody handled. */
export async function startCli(make: () => Cli, argv: readonly string[]): Promise<void> {
  // A reader that goes away (`| head`) is no reason for a stack trace; the exit code still tells of the run.
  process.stdout.on('error', ignoreClosedPipe);
  process.stderr.on('error', ignoreClosedPipe);
  const output: Output = {
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
    terminal: process.stderr.isTTY ? process.stderr : undefined,
  };
  try {
    process.exitCode = await make()(argv.slice(2), output, version());
  } catch (thrown) {
    process.exitCode = report(thrown, output, argv);
  }
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`error: the output cannot be written: ${error.code ?? error.message}\n`);
  process.exit(EXIT.failed);
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
