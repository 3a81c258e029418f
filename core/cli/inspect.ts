import type { PluginDefinition } from '../api/plugin.ts';
import { visible } from '../api/text.ts';
import { optionDocs, pipelineJsonSchema } from '../pipeline/documents.ts';
import { unknown } from '../pipeline/explain.ts';
import { InvalidPipeline } from '../pipeline/problem.ts';
import type { JobFactory } from '../runtime/job.ts';
import { EXIT, type Output, table } from './output.ts';

/** `isthmus validate`: reads pipelines and lists every mistake; touches no network. */
export async function validateCommand(
  files: readonly string[],
  json: boolean,
  jobs: JobFactory,
  output: Output,
): Promise<number> {
  let valid = true;
  const results: object[] = [];
  for (const file of files) {
    try {
      const { name, warnings } = await jobs.load(file);
      results.push({ file, valid: true, pipeline: name, problems: [], warnings });
      if (json) continue;
      for (const { line, column, message } of warnings)
        output.err(`${visible(file)}:${line}:${column}: warning: ${message}`);
      output.out(`${visible(file)}: valid (${name})`);
    } catch (error) {
      if (!(error instanceof InvalidPipeline)) throw error;
      valid = false;
      results.push({ file, valid: false, problems: error.problems });
      if (!json) output.err(error.message);
    }
  }
  if (json) output.out(JSON.stringify(results));
  return valid ? EXIT.complete : EXIT.invalid;
}

/** Those that are built in, and those that a pipeline brings along. */
async function known(file: string | undefined, plugins: readonly PluginDefinition[]): Promise<readonly Known[]> {
  const own = plugins.map((plugin) => ({ plugin, from: 'isthmus' }));
  if (file === undefined) return own;
  const { pluginsBeside } = await import('../pipeline/load.ts');
  const brought = await pluginsBeside(file);
  return [...own, ...brought.map(({ definition, specifier }) => ({ plugin: definition, from: specifier }))];
}

interface Known {
  readonly plugin: PluginDefinition;
  /** `isthmus`, or the file or package that it comes from. */
  readonly from: string;
}

export interface PluginsFlags {
  readonly pipeline?: string;
  readonly json?: boolean;
}

/** `isthmus plugins [name]`: the list, or the option table of one. */
export async function pluginsCommand(
  name: string | undefined,
  { pipeline, json }: PluginsFlags,
  plugins: readonly PluginDefinition[],
  output: Output,
): Promise<number> {
  const all = await known(pipeline, plugins);
  const shown = all.filter(({ plugin }) => name === undefined || plugin.name === name);
  if (shown.length === 0) {
    output.err(unknown('plugin', name ?? '', [...new Set(all.map(({ plugin }) => plugin.name))]));
    return EXIT.invalid;
  }
  if (json === true) {
    const list = shown.map(({ plugin, from }) => ({
      name: plugin.name,
      kind: plugin.kind,
      summary: plugin.summary,
      stability: plugin.stability,
      contract: plugin.contract,
      from,
      options: optionDocs(plugin),
    }));
    output.out(JSON.stringify(list));
    return EXIT.complete;
  }
  if (name === undefined) {
    const rows = shown.map(({ plugin, from }) => [plugin.kind, plugin.name, plugin.stability, from, plugin.summary]);
    for (const line of table([['KIND', 'NAME', 'STABILITY', 'FROM', 'SUMMARY'], ...rows])) output.out(visible(line));
    return EXIT.complete;
  }
  for (const { plugin, from } of shown) {
    output.out(visible(`${plugin.kind} ${plugin.name} (${plugin.stability}, ${from}): ${plugin.summary}`));
    const rows = optionDocs(plugin).map((option) => [
      `  ${option.name}`,
      option.type.replaceAll('\\|', '|'),
      option.required ? 'required' : option.default === '' ? '' : `default ${option.default}`,
      option.description,
    ]);
    for (const line of table(rows)) output.out(visible(line));
  }
  return EXIT.complete;
}

/** `isthmus schema [pipeline]`: the JSON Schema of pipeline files, with the plugins that this one brings along. */
export async function schemaCommand(
  file: string | undefined,
  plugins: readonly PluginDefinition[],
  output: Output,
): Promise<number> {
  const all = await known(file, plugins);
  output.out(JSON.stringify(pipelineJsonSchema(all.map(({ plugin }) => plugin)), null, 2));
  return EXIT.complete;
}
