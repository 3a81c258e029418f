import type { PluginDefinition } from '../api/plugin.ts';
import { type CustomPlugin, customPlugins } from './custom-plugins.ts';
import { parsePipeline } from './parse.ts';
import { placesIn, toData } from './places.ts';
import { InvalidPipeline, type Problem } from './problem.ts';
import { readPipelineFile } from './read-file.ts';
import { type Pipeline, type PipelineData, type ValidateOptions, validatePipeline } from './validate.ts';

/** Reads and validates a pipeline file, with the plugins that it brings along. @throws InvalidPipeline with every mistake in it. */
export async function loadPipeline(file: string, options: ValidateOptions): Promise<Pipeline> {
  return (await loadWritten(file, options)).pipeline;
}

/** What `package` needs besides the pipeline. */
export interface Loaded {
  readonly pipeline: Pipeline;
  /** Before its variables were filled in. */
  readonly written: PipelineData;
  readonly custom: readonly CustomPlugin[];
}

export async function loadWritten(file: string, options: ValidateOptions): Promise<Loaded> {
  const written = readData(await readPipelineFile(file), file);
  const custom = await customPlugins(written);
  const problems = [
    ...(written.problems ?? []),
    ...custom.problems,
    ...namesTwice(custom.found, options.plugins, written),
  ];
  const plugins = [...options.plugins, ...custom.plugins];
  const pipeline = validatePipeline({ ...written, problems }, { ...options, plugins });
  const unreadable = await regexProblems(pipeline, written);
  if (unreadable.length > 0) throw new InvalidPipeline(file, unreadable);
  return { pipeline, written, custom: custom.found };
}

/** Whose name is taken would be left alone without a word. */
function namesTwice(
  found: readonly CustomPlugin[],
  builtIn: readonly PluginDefinition[],
  { data, places }: PipelineData,
): readonly Problem[] {
  const taken = new Map(builtIn.map(({ kind, name }) => [`${kind} ${name}`, 'is built in']));
  return found.flatMap(({ definition: { kind, name }, specifier }) => {
    const by = taken.get(`${kind} ${name}`);
    taken.set(`${kind} ${name}`, `comes from ${specifier}`);
    if (by === undefined) return [];
    const index = (data as { readonly plugins: readonly unknown[] }).plugins.indexOf(specifier);
    const path = ['plugins', index];
    const message = `${specifier}: a ${kind} "${name}" ${by}: give it another name`;
    return [{ ...places?.placeOf(path, false), path: path.join('.'), message }];
  });
}

/** The plugins that a pipeline file brings along, whatever else is wrong with it. @throws InvalidPipeline for what is wrong with them. */
export async function pluginsBeside(file: string): Promise<readonly CustomPlugin[]> {
  const { found, problems } = await customPlugins(readData(await readPipelineFile(file), file));
  if (problems.length > 0) throw new InvalidPipeline(file, problems);
  return found;
}

/** Which regular expressions cannot be read: known only when the library for them is loaded. */
async function regexProblems({ filter }: Pipeline, { places }: PipelineData): Promise<readonly Problem[]> {
  const all = (['include', 'exclude'] as const).flatMap((list) =>
    (filter?.[list] ?? []).map((pattern, index) => ({ pattern, path: ['filter', list, index, 'regex'] })),
  );
  const found: Problem[] = [];
  for (const { pattern, path } of all) {
    if (typeof pattern === 'string') continue;
    const { compileRegex } = await import('../engine/regex.ts');
    try {
      compileRegex(pattern.regex);
    } catch (error) {
      const why = error instanceof Error ? error.message : 'it cannot be read';
      found.push({ ...places?.placeOf(path, false), path: path.join('.'), message: `bad pattern: ${why}` });
    }
  }
  return found;
}

/** @param file names the text in messages; relative paths in the pipeline begin at its folder. */
export const parsePipelineText = (text: string, file: string, options: ValidateOptions): Pipeline =>
  validatePipeline(readData(text, file), options);

function readData(text: string, file: string): PipelineData {
  const parsed = parsePipeline(text, file);
  const problems: Problem[] = [];
  return { file, data: toData(parsed, problems), places: placesIn(parsed), problems };
}
