import { hidden, visible } from '../api/text.ts';

/** One mistake in a pipeline file, with its place; lines and columns count from 1. */
export interface Problem {
  readonly line?: number;
  readonly column?: number;
  /** `source.with.bucket` */
  readonly path?: string;
  readonly message: string;
}

const MOST_SHOWN = 20;

/** Everything that is wrong with a pipeline file, sorted by place. */
export class InvalidPipeline extends Error {
  override readonly name = 'InvalidPipeline';
  readonly file: string;
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    const sorted = problems
      .map(shown)
      .sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
    super(describe(file, sorted));
    this.file = file;
    this.problems = sorted;
  }
}

/** What stands in a file, or in a variable, is no secret only as long as nobody has put one there. */
const shown = ({ path, message, ...place }: Problem): Problem => ({
  ...place,
  ...(path === undefined ? {} : { path: hidden(path) }),
  message: hidden(message),
});

function describe(file: string, problems: readonly Problem[]): string {
  const lines = problems.slice(0, MOST_SHOWN).map((problem) => {
    const place = [visible(file), problem.line, problem.column].filter((part) => part !== undefined).join(':');
    const path = problem.path === undefined || problem.path === '' ? '' : `${visible(problem.path)}: `;
    return `${place}: ${path}${visible(problem.message)}`;
  });
  if (problems.length > MOST_SHOWN) lines.push(`… and ${problems.length - MOST_SHOWN} more`);
  return lines.join('\n');
}
