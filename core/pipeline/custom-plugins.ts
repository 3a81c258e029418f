import { realpath } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { systemErrorCode } from '../api/errors.ts';
import type { PluginDefinition } from '../api/plugin.ts';
import { safeText } from '../api/text.ts';
import type { Problem } from './problem.ts';
import { CUSTOM_PLUGIN } from './spec.ts';
import type { PipelineData } from './validate.ts';

/** A plugin that is not ours, with the module that it comes from. */
export interface CustomPlugin {
  readonly definition: PluginDefinition;
  /** Absolute. */
  readonly module: string;
  readonly exported: string;
}

export interface CustomPlugins {
  readonly found: readonly CustomPlugin[];
  readonly plugins: readonly PluginDefinition[];
  readonly problems: readonly Problem[];
}

/**
 * Loads what a pipeline names under `plugins`: files in its own folder, or installed packages. A file elsewhere is
 * refused, also behind a symbolic link: whoever writes a pipeline must not choose any code of the machine.
 */
export async function customPlugins({ file, data, places }: PipelineData): Promise<CustomPlugins> {
  const named: unknown =
    typeof data === 'object' && data !== null && !Array.isArray(data) && 'plugins' in data ? data.plugins : [];
  const found: CustomPlugin[] = [];
  const problems: Problem[] = [];
  for (const [index, specifier] of Array.isArray(named) ? named.entries() : []) {
    // What is no specifier at all is told by the schema.
    if (typeof specifier !== 'string' || !CUSTOM_PLUGIN.test(specifier)) continue;
    try {
      found.push(...(await pluginsOf(specifier, dirname(resolve(file)))));
    } catch (error) {
      const path = ['plugins', index];
      problems.push({ ...places?.placeOf(path, false), path: path.join('.'), message: whyNot(specifier, error) });
    }
  }
  return { found, plugins: found.map(({ definition }) => definition), problems };
}

async function pluginsOf(specifier: string, folder: string): Promise<CustomPlugin[]> {
  const module = specifier.startsWith('.') ? await own(specifier, folder) : await installed(specifier, folder);
  const exports = Object.entries((await import(pathToFileURL(module).href)) as Record<string, unknown>);
  const plugins = exports.flatMap(([exported, value]): CustomPlugin[] =>
    isDefinition(value) ? [{ definition: value, module, exported }] : [],
  );
  if (plugins.length === 0) throw new Error('it exports no plugin: export what defineSource or defineSink makes');
  return plugins;
}

async function own(specifier: string, folder: string): Promise<string> {
  const [inside, path] = await Promise.all([realpath(folder), realpath(join(folder, specifier))]);
  if (!path.startsWith(inside + sep)) throw new Error('it is outside of the folder of the pipeline');
  return path;
}

/** As Node finds it from the folder of the pipeline. */
const installed = (specifier: string, folder: string): Promise<string> =>
  realpath(createRequire(join(folder, 'pipeline.yaml')).resolve(specifier));

function isDefinition(value: unknown): value is PluginDefinition {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, name, config, create } = value as Partial<Record<keyof PluginDefinition, unknown>>;
  return (
    ['source', 'sink', 'state'].includes(String(kind)) &&
    typeof name === 'string' &&
    typeof config === 'object' &&
    typeof create === 'function'
  );
}

function whyNot(specifier: string, error: unknown): string {
  const code = systemErrorCode(error);
  if (code === 'ENOENT') return `${specifier}: no such file in the folder of the pipeline`;
  if (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND')
    return `${specifier} is not installed: npm install ${specifier}`;
  return `${specifier} cannot be loaded: ${safeText(error instanceof Error ? error.message : String(error))}`;
}
