import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { BrokerError } from '../../core/api/index.ts';
import type { World } from './world.ts';

export interface Answer {
  readonly code: number;
  readonly out: readonly string[];
  readonly err: readonly string[];
  /** What was thrown out of the command. */
  readonly error: BrokerError | undefined;
}

/** A command of the CLI, in this process. */
export async function isthmus(w: World, ...args: string[]): Promise<Answer> {
  const [out, err]: [string[], string[]] = [[], []];
  const output = {
    out: (line: string) => void out.push(line),
    err: (line: string) => void err.push(line),
    terminal: undefined,
  };
  try {
    return { code: await compose(w.cloud.environment).get(tokens.cli)(args, output, '0'), out, err, error: undefined };
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    return { code: -1, out, err, error };
  }
}

export const json = ({ out }: Answer): unknown => JSON.parse(out.join('\n'));
