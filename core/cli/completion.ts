import { readdirSync } from 'node:fs';
import type { Command } from 'commander';

/** The arguments that are files, by their names, and how those end. */
const FILES: Readonly<Record<string, RegExp>> = {
  pipeline: /\.ya?ml$/,
  pipelines: /\.ya?ml$/,
  plan: /\.jsonl$/,
  files: /\.(json|jsonl|log|ya?ml)$/,
};

/** `isthmus completion SHELL`, and what its script asks. Only who asks for it loads the library. */
export async function addCompletion(program: Command, args: readonly string[]): Promise<void> {
  if (args[0] !== 'completion' && args[0] !== 'complete') return declareCompletion(program);
  const { default: tab } = await import('@bomb.sh/tab/commander');
  const completion = tab(program, { completionCommandName: 'completion' });
  for (const command of completion.commands.values())
    for (const argument of command.arguments.values()) {
      const wanted = FILES[argument.name];
      if (wanted !== undefined)
        argument.handler = (complete) => {
          for (const name of namesHere()) if (wanted.test(name)) complete(name, '');
        };
    }
}

function namesHere(): readonly string[] {
  try {
    return readdirSync('.');
  } catch {
    return [];
  }
}

/** The command as the help shows it. */
export const declareCompletion = (program: Command): void =>
  void program
    .command('completion')
    .description('print a script that completes commands, options and files in your shell')
    .argument('<shell>', 'bash, zsh, fish or powershell');
