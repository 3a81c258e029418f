import process from 'node:process';
import { BrokerError } from '../api/errors.ts';
import type { Ask } from './init.ts';

/** Asks on the terminal; undefined where there is none. */
export function terminalAsk(): Ask | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  return async (question, check, initial) => {
    const { input } = await import('@inquirer/prompts');
    try {
      return await input(
        {
          message: question,
          validate: (text) => check(text) ?? true,
          ...(initial === undefined ? {} : { default: initial }),
        },
        { output: process.stderr },
      );
    } catch (error) {
      if (error instanceof Error && error.name === 'ExitPromptError')
        throw new BrokerError('stopped', 'no answer: nothing was written');
      throw error;
    }
  };
}
