import process from 'node:process';
import { EXIT } from './exit.ts';

const LEFT_OPEN_MS = 2000;

/**
 * Watches the standard output of this process. A reader that goes away (`| head`) is no reason to stop what is under
 * way, or for a stack trace; but whoever asks for the exit code is told that not everything could be written.
 */
export function watchOutput(): { end(code: number): void } {
  let lost: string | undefined;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    lost ??= error.code ?? error.message;
  });
  process.stderr.on('error', () => {});
  return {
    end: (code) => {
      process.exitCode = code;
      // What a plugin has left open would keep the process alive for ever. Where nothing is, it ends before that.
      setTimeout(() => process.exit(), LEFT_OPEN_MS).unref();
      // Called when all that was written before has reached the stream, or has not.
      process.stdout.write('', () => {
        if (lost === undefined) return;
        process.stderr.write(`error: the output could not be written: ${lost}\n`);
        if (code === EXIT.complete) process.exitCode = EXIT.failed;
      });
    },
  };
}
