import { InvalidPipeline } from './problem.ts';

export const MAX_DEPTH = 32;

/** Refuses by its text what would cost a recursive parser its stack: brackets, dashes or indents without end. */
export function refuseDeepText(text: string, file: string): void {
  const refuse = (line: number, column: number): never => {
    throw new InvalidPipeline(file, [{ line, column, message: `nested deeper than ${MAX_DEPTH} levels` }]);
  };
  let open = 0;
  let quote = '';
  /** The indents of the lines above that are still open, each deeper than the one before. */
  const indents: number[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const indent = /^[ ]*/.exec(line)?.[0].length ?? 0;
    const dashes = /^(?: *- )+/.exec(line)?.[0].match(/-/g)?.length ?? 0;
    if (dashes > MAX_DEPTH) refuse(index + 1, indent + 1);
    if (quote === '' && line.trim() !== '') {
      while ((indents.at(-1) ?? -1) >= indent) indents.pop();
      indents.push(indent);
      if (indents.length > 2 * MAX_DEPTH) refuse(index + 1, indent + 1);
    }
    for (let at = indent; at < line.length; at++) {
      const character = line[at] ?? '';
      if (quote !== '') {
        if (character === '\\' && quote === '"') at++;
        else if (character === quote) quote = '';
      } else if (character === '#' && /^$|\s/.test(line[at - 1] ?? '')) break;
      // An apostrophe within a word opens nothing.
      else if ((character === '"' || character === "'") && /^$|[\s[{,:-]/.test(line[at - 1] ?? '')) quote = character;
      else if (character === '[' || character === '{') open++;
      else if (character === ']' || character === '}') open = Math.max(0, open - 1);
      if (open > MAX_DEPTH) refuse(index + 1, at + 1);
    }
  }
}
