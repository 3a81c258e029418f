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

/** `isthmus plugins [name]`: the list, or the option table of one. */
export function pluginsCommand(
  name: string | undefined,
  json: boolean,
  plugins: readonly PluginDefinition[],
  output: Output,
): number {
  const shown = plugins.filter((plugin) => name === undefined || plugin.name === name);
  if (shown.length === 0) {
    output.err(unknown('plugin', name ?? '', [...new Set(plugins.map((plugin) => plugin.name))]));
    return EXIT.invalid;
  }
  if (json) {
    const list = shown.map((plugin) => ({
      name: plugin.name,
      kind: plugin.kind,
      summary: plugin.summary,
      stability: plugin.stability,
      options: optionDocs(plugin),
    }));
    output.out(JSON.stringify(list));
    return EXIT.complete;
  }
  if (name === undefined) {
    const rows = shown.map((plugin) => [plugin.kind, plugin.name, plugin.stability, plugin.summary]);
    for (const line of table([['KIND', 'NAME', 'STABILITY', 'SUMMARY'], ...rows])) output.out(line);
    return EXIT.complete;
  }
  for (const plugin of shown) {
    output.out(`${plugin.kind} ${plugin.name} (${plugin.stability}): ${plugin.summary}`);
    const rows = optionDocs(plugin).map((option) => [
      `  ${option.name}`,
      option.type.replaceAll('\\|', '|'),
      option.required ? 'required' : option.default === '' ? '' : `default ${option.default}`,
      option.description,
    ]);
    for (const line of table(rows)) output.out(line);
  }
  return EXIT.complete;
}

/** `isthmus schema`: the JSON Schema of pipeline files. */
export function schemaCommand(plugins: readonly PluginDefinition[], output: Output): number {
  output.out(JSON.stringify(pipelineJsonSchema(plugins), null, 2));
  return EXIT.complete;
}
