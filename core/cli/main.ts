import { CommanderError } from 'commander';
import { addCompletion } from './completion.ts';
import { EXIT, type Output } from './output.ts';
import { type CliParts, type Does, programOf } from './program.ts';

/** Parses the arguments (without program name), carries the command out, and answers with the exit code. */
export type Cli = (args: readonly string[], output: Output, version: string) => Promise<number>;

export const cli =
  (...[jobs, plugins, runtime, environment, packaging, endpoints, openOffline]: CliArguments): Cli =>
  async (args, output, version) => {
    let code: number = EXIT.complete;
    const does: Does =
      <Arguments extends unknown[]>(work: (...given: Arguments) => Promise<number> | number) =>
      async (...given: Arguments): Promise<void> => {
        code = await work(...given);
      };
    const parts = { jobs, plugins, runtime, environment, packaging, endpoints, openOffline };
    const program = programOf(parts, does, output, version);
    await addCompletion(program, args);
    try {
      await program.parseAsync([...args], { from: 'user' });
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error;
      if (error.exitCode === 0) return EXIT.complete;
      const message = error.message.replace(/^error: /, '');
      const hint = 'See isthmus --help.';
      if (args.includes('--json'))
        output.out(JSON.stringify({ outcome: 'failed', error: { code: 'invalid_config', message, hint } }));
      return EXIT.invalid;
    }
    return code;
  };

/** In the order of the composition. */
type CliArguments = [
  CliParts['jobs'],
  CliParts['plugins'],
  CliParts['runtime'],
  CliParts['environment'],
  CliParts['packaging'],
  CliParts['endpoints'],
  CliParts['openOffline'],
];
