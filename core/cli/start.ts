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
    process.exitCode = report(thrown, output, argv.includes('--debug'));
  }
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
  process.exitCode ||= EXIT.failed;
}

function report(thrown: unknown, output: Output, debug: boolean): number {
  if (thrown instanceof InvalidPipeline) {
    output.err(thrown.message);
    return EXIT.invalid;
  }
  const error: BrokerError = asBrokerError(thrown);
  output.err(`error: ${error.code}: ${error.message}`);
  output.err(`  ${error.hint}`);
  if (debug && thrown instanceof Error && thrown.stack !== undefined) output.err(thrown.stack);
  return error.code === 'invalid_config' ? EXIT.invalid : EXIT.failed;
}
