import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { VARIABLES } from './pipelines.ts';

/** `isthmus package`, in this process. */
export async function packageInto(
  folder: string,
  pipeline: string,
  ...more: readonly string[]
): Promise<{ code: number; out: string; err: string; made: string }> {
  const file = join(folder, 'pipeline.yaml');
  await writeFile(file, pipeline);
  const lines: { out: string[]; err: string[] } = { out: [], err: [] };
  const output = {
    out: (line: string) => void lines.out.push(line),
    err: (line: string) => void lines.err.push(line),
    terminal: undefined,
  };
  const cli = compose({ ...process.env, ...VARIABLES }).get(tokens.cli);
  const code = await cli(['package', file, '--out', join(folder, 'dist'), ...more], output, '0');
  const [name = ''] = await readdir(join(folder, 'dist')).catch(() => []);
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n'), made: join(folder, 'dist', name) };
}
