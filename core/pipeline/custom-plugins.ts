import { readFile, realpath } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { systemErrorCode } from '../api/errors.ts';
import type { PluginDefinition } from '../api/plugin.ts';
import { pause } from '../api/retry.ts';
import { safeText } from '../api/text.ts';
import { guarded } from '../guard/definition.ts';
import { offerOwnApi } from './own-api.ts';
import { isMeant, shapeProblem } from './plugin-shape.ts';
import type { Problem } from './problem.ts';
import { CUSTOM_PLUGIN } from './spec.ts';
import type { PipelineData } from './validate.ts';

const IMPORT_MS = 20_000;

/** A plugin that is not ours, with the module that it comes from. */
export interface CustomPlugin {
  readonly definition: PluginDefinition;
  /** Absolute. */
  readonly module: string;
  readonly exported: string;
  /** How the pipeline names it: a file, or a package. */
  readonly specifier: string;
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
  offerOwnApi();
  const meant = Object.entries(await imported(module)).filter(([, value]) => isMeant(value));
  if (meant.length === 0)
    throw new Error('it exports no plugin: export what defineSource, defineSink, defineStep or defineState makes');
  return meant.map(([exported, value]) => {
    const problem = shapeProblem(value as object);
    if (problem !== undefined) throw new Error(problem);
    return { definition: guarded(value as PluginDefinition, specifier), module, exported, specifier };
  });
}

/** A module that waits at its top for what never comes would stop every command. */
async function imported(module: string): Promise<Readonly<Record<string, unknown>>> {
  const late = new AbortController();
  const limit = pause(IMPORT_MS, late.signal).then(
    () => {
      throw new Error(`its module is not loaded after ${IMPORT_MS / 1000} seconds: it waits for something at its top`);
    },
    () => ({}),
  );
  try {
    return await Promise.race([import(pathToFileURL(module).href) as Promise<Record<string, unknown>>, limit]);
  } finally {
    late.abort();
  }
}

async function own(specifier: string, folder: string): Promise<string> {
  const [inside, path] = await Promise.all([realpath(folder), realpath(join(folder, specifier))]);
  if (!path.startsWith(inside.endsWith(sep) ? inside : inside + sep))
    throw new Error('it is outside of the folder of the pipeline');
  return path;
}

/** The package as it lies in a `node_modules` of the folder of the pipeline, or of one above. Nothing else is code. */
async function installed(specifier: string, folder: string): Promise<string> {
  for (const place of createRequire(join(folder, 'pipeline.yaml')).resolve.paths(`${specifier}/package.json`) ?? []) {
    const root = join(place, specifier);
    const text = await readFile(join(root, 'package.json'), 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const { exports, main } = JSON.parse(text) as { readonly exports?: unknown; readonly main?: unknown };
    const entry = entryOf(exports) ?? (typeof main === 'string' ? main : 'index.js');
    const [inside, path] = await Promise.all([realpath(root), realpath(join(root, entry))]);
    if (!path.startsWith(inside + sep)) throw new Error('its entry is outside of the package');
    return path;
  }
  throw Object.assign(new Error('it is not installed'), { code: 'MODULE_NOT_FOUND' });
}

/** The conditions that `import` takes, in the order of the package. Source: https://nodejs.org/api/packages.html#exports */
function entryOf(exports: unknown): string | undefined {
  if (typeof exports === 'string') return exports;
  if (typeof exports !== 'object' || exports === null) return undefined;
  if (Array.isArray(exports)) return exports.map(entryOf).find((entry) => entry !== undefined);
  if ('.' in exports) return entryOf(exports['.']);
  for (const [condition, target] of Object.entries(exports)) {
    const entry = ['node', 'import', 'default'].includes(condition) ? entryOf(target) : undefined;
    if (entry !== undefined) return entry;
  }
  return undefined;
}

function whyNot(specifier: string, error: unknown): string {
  const code = systemErrorCode(error);
  if (/Cannot find package 'isthmus'/.test(String(error)))
    return `${specifier} imports isthmus, which is not installed beside it: npm install isthmus, or use Node.js 22.15 or newer`;
  if (code === 'ERR_UNSUPPORTED_DIR_IMPORT' || code === 'EISDIR')
    return `${specifier} is a folder: name the file in it, such as ${specifier}/src/index.ts`;
  if (code === 'ENOENT') return `${specifier}: no such file in the folder of the pipeline`;
  if (code === 'MODULE_NOT_FOUND' && /\.[cm]?[jt]s$/.test(specifier))
    return `${specifier} is no package: a file of the folder of the pipeline is named ./${specifier}`;
  if (code === 'MODULE_NOT_FOUND') return `${specifier} is not installed: npm install ${specifier}`;
  return `${specifier} cannot be loaded: ${safeText(error instanceof Error ? error.message : String(error))}`;
}
