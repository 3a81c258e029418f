import type { Command } from 'commander';
import { declareCompletion } from './completion.ts';
import { EXAMPLES } from './examples.ts';
import { type CliParts, programOf } from './program.ts';

/** A command as documentation shows it. */
export interface CommandDoc {
  readonly name: string;
  readonly usage: string;
  readonly description: string;
  readonly options: readonly (readonly [flags: string, does: string])[];
  readonly examples: readonly (readonly [line: string, does: string])[];
}

/** Every command there is, in the order of the help. */
export function commandDocs(): readonly CommandDoc[] {
  const output = { out: () => {}, err: () => {}, terminal: undefined };
  // Nothing is carried out, so nothing is needed to do so.
  const program = programOf({} as CliParts, () => async () => {}, output, '0');
  declareCompletion(program);
  return docsOf(program, '');
}

function docsOf(command: Command, path: string): readonly CommandDoc[] {
  return command.commands.flatMap((inner) => {
    const name = `${path} ${inner.name()}`.trim();
    if (inner.commands.length > 0) return docsOf(inner, name);
    const options = inner.createHelp().visibleOptions(inner);
    return [
      {
        name,
        usage: `isthmus ${name} ${inner.usage()}`.replace(' [options]', options.length > 1 ? ' [options]' : ''),
        description: inner.description(),
        options: options
          .filter(({ long }) => long !== '--help')
          .map((option) => [option.flags.replaceAll('|', '\\|'), described(option).replaceAll('|', '\\|')] as const),
        examples: EXAMPLES[name] ?? [],
      },
    ];
  });
}

function described({ description, defaultValue, argChoices }: Command['options'][number]): string {
  const choices = argChoices === undefined ? '' : `: ${argChoices.join(', ')}`;
  return `${description}${choices}${defaultValue === undefined || typeof defaultValue === 'boolean' ? '' : ` (default: ${String(defaultValue)})`}`;
}
