import { readFile } from 'node:fs/promises';
import { dirname, relative, resolve, sep } from 'node:path';
import type { Metafile, Plugin } from 'esbuild';
import { BrokerError } from '../api/errors.ts';
import type { PluginDefinition } from '../api/plugin.ts';
import type { CustomPlugin } from '../pipeline/custom-plugins.ts';
import { endpointsOf } from '../pipeline/grants.ts';
import type { Pipeline, PipelineData } from '../pipeline/validate.ts';
import { bundleFailure } from './bundle-failure.ts';
import { type Licence, licencesOf } from './licences.ts';

export type Target = 'lambda' | 'container';

export interface PluginModule {
  /** Absolute. */
  readonly module: string;
  readonly exported: string;
  /**
   * It may be cut into chunks, with what it stands on. The CommonJS libraries of Google's clients may not: they are
   * loaded in circles, which only one file puts in order.
   */
  readonly splits?: true;
  /** Of a plugin that is not ours: how the pipeline names it. */
  readonly from?: string;
}

/** Where the parts of a bundle lie on this machine. */
export interface Packaging {
  /** Of this package. */
  readonly root: string;
  /** What plugins import as `isthmus`. */
  readonly api: string;
  /** Of packages with a plugin (`isthmus plugin new`). */
  readonly templates: string;
  /** What watches over plugins that are not ours. */
  readonly guard: string;
  readonly entries: Readonly<Record<Target, string>>;
  /** Of the plugins that are built in, by kind and name: `source gcs`. */
  readonly plugins: Readonly<Record<string, PluginModule>>;
  /** Leaves out what a pipeline does not need of the libraries of its plugins. */
  readonly trim?: (pipeline: Pipeline) => readonly Plugin[];
}

export interface Bundle {
  /** By name: `index.mjs`, and the chunks that it loads when they are needed; each with its map beside it. */
  readonly code: Readonly<Record<string, Uint8Array>>;
  readonly maps: Readonly<Record<string, Uint8Array>>;
  /** Bytes that are loaded at the start, before anything is asked for. */
  readonly atStart: number;
  /** Bytes of the bundle by where they come from, the most first. */
  readonly contents: readonly (readonly [string, number])[];
  readonly licences: readonly Licence[];
}

/**
 * Minified ECMAScript modules with the plugins that the pipeline uses and no others, and the pipeline as data: no YAML
 * parser. What is rare, as the SDK of AWS is, lies in chunks of its own that are loaded when they are needed. The same
 * input gives the same bytes, wherever it lies.
 */
export async function bundle(
  target: Target,
  { pipeline, written, custom }: { pipeline: Pipeline; written: PipelineData; custom: readonly CustomPlugin[] },
  packaging: Packaging,
): Promise<Bundle> {
  const { build } = await import('esbuild');
  const modules = modulesOf(pipeline, custom, packaging);
  const entry = entryFor(target, pipeline, written, modules, packaging);
  const folder = dirname(resolve(pipeline.file));
  const { outputFiles, metafile } = await build({
    stdin: { contents: entry, resolveDir: packaging.root, sourcefile: 'entry.js', loader: 'js' },
    outdir: '.',
    entryNames: 'index',
    chunkNames: 'chunk-[hash]',
    outExtension: { '.js': '.mjs' },
    splitting: modules.every(({ splits }) => splits === true),
    absWorkingDir: packaging.root,
    write: false,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node22.12',
    mainFields: ['module', 'main'],
    conditions: ['module'],
    // Libraries that are CommonJS call it for the modules of Node.
    banner: { js: "import{createRequire as __require}from'node:module';const require=__require(import.meta.url);" },
    legalComments: 'none',
    sourcemap: 'linked',
    sourcesContent: false,
    metafile: true,
    logLevel: 'silent',
    plugins: [
      oneApi(packaging.api),
      onlyEnglish,
      withoutJsonSchema,
      withoutBrowsers,
      ...(usesRegex(pipeline) ? [] : [withoutRegex]),
      ...(pipeline.through.length > 0 ? [] : [withoutSteps]),
      ...(packaging.trim?.(pipeline) ?? []),
    ],
  }).catch((error: unknown) => {
    throw bundleFailure(error);
  });
  const named = (path: string): string => nameOf(resolve(packaging.root, path), packaging.root, folder);
  const files = outputFiles.map(({ path, contents }) => [relative(packaging.root, path), contents] as const);
  const code = Object.fromEntries(files.filter(([name]) => name.endsWith('.mjs')));
  if (code['index.mjs'] === undefined) throw new BrokerError('internal', 'the bundler made no bundle');
  const maps = files.filter(([name]) => name.endsWith('.map')).map(([name, map]) => [name, withNames(map, named)]);
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  return {
    code,
    maps: Object.fromEntries(maps) as Bundle['maps'],
    atStart: startOf(metafile.outputs),
    contents: sumsOf(inputs, named),
    licences: await licencesOf(inputs.map(([path]) => resolve(packaging.root, path))),
  };
}

/** Bytes of the entry and of all that it imports at once. */
function startOf(outputs: Metafile['outputs']): number {
  const seen = new Set<string>();
  const walk = (name: string): number => {
    const output = outputs[name];
    if (output === undefined || seen.has(name)) return 0;
    seen.add(name);
    const next = output.imports.filter(({ kind }) => kind === 'import-statement');
    return next.reduce((sum, { path }) => sum + walk(path), output.bytes);
  };
  return walk('index.mjs');
}

/** zod makes and reads JSON Schema: the command does, a packaged pipeline never. */
const withoutJsonSchema: Plugin = {
  name: 'without-json-schema',
  setup: ({ onLoad }) =>
    onLoad(
      {
        filter: /[\\/]zod[\\/]v4[\\/](?:classic[\\/]from-json-schema|core[\\/](?:to-json-schema|json-schema-\w+))\.js$/,
      },
      async ({ path }) => {
        const names = [...(await readFile(path, 'utf8')).matchAll(/^export (?:const|function|class) (\w+)/gm)];
        // Some are called as schemas are made, and give what is called by whoever wants a JSON Schema.
        return { contents: names.map(([, name]) => `export const ${name} = () => () => {};`).join('\n') };
      },
    ),
};

const usesRegex = ({ filter }: Pipeline): boolean =>
  [...(filter?.include ?? []), ...(filter?.exclude ?? [])].some((pattern) => typeof pattern !== 'string');

/** A module that this pipeline never loads. */
const without = (name: string, filter: RegExp, contents: string): Plugin => ({
  name: `without-${name}`,
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter }, () => ({ path: name, namespace: `left-out-${name}` }));
    onLoad({ filter: /.*/, namespace: `left-out-${name}` }, () => ({ contents }));
  },
});
/** The AWS SDK tells browsers apart with it, in browsers. */
const withoutBrowsers = without('bowser', /^bowser$/, 'export default undefined;');
const withoutRegex = without('re2js', /^re2js$/, 'export const RE2JS = undefined;');
const withoutSteps = without('steps', /\/through\/index\.[jt]s$/, 'export {};');

/** The module that the bundle begins with. */
function entryFor(
  target: Target,
  { plugins }: Pipeline,
  { data }: PipelineData,
  modules: readonly PluginModule[],
  { entries, guard }: Packaging,
): string {
  const imports = modules.map(
    ({ module, exported }, index) => `import { ${exported} as plugin${index} } from ${JSON.stringify(module)};`,
  );
  if (modules.some(({ from }) => from !== undefined)) imports.push(`import { guarded } from ${JSON.stringify(guard)};`);
  const list = modules
    .map(({ from }, index) =>
      from === undefined ? `plugin${index}` : `guarded(plugin${index}, ${JSON.stringify(from)})`,
    )
    .join(', ');
  // What it names is in the bundle.
  const told = plugins.length === 0 ? data : { ...(data as object), plugins: [] };
  const given = `{ data: ${JSON.stringify(told)}, plugins: [${list}], url: import.meta.url }`;
  const start = {
    lambda: `import { lambda } from ${JSON.stringify(entries.lambda)};\nexport const handler = lambda(${given});`,
    container: `import { container } from ${JSON.stringify(entries.container)};\nawait container(${given});`,
  };
  return [...imports, start[target]].join('\n');
}

function modulesOf(pipeline: Pipeline, custom: readonly CustomPlugin[], packaging: Packaging): readonly PluginModule[] {
  const used = new Set<PluginDefinition>(endpointsOf(pipeline).map(({ endpoint }) => endpoint.plugin));
  return [...used].map((plugin) => {
    const found = custom.find(({ definition }) => definition === plugin);
    const own = packaging.plugins[`${plugin.kind} ${plugin.name}`];
    if (found === undefined && own === undefined)
      throw new BrokerError('internal', `where plugin ${plugin.name} comes from is not known`);
    return found === undefined ? (own as PluginModule) : { ...found, from: found.specifier };
  });
}

/** A plugin's `isthmus` is this one, not a second copy beside it. */
const oneApi = (api: string): Plugin => ({
  name: 'one-api',
  setup: ({ onResolve }) => onResolve({ filter: /^isthmus$/ }, () => ({ path: api })),
});

/** zod brings its messages in fifty languages along: a fifth of the bundle. English is what it uses itself. */
const onlyEnglish: Plugin = {
  name: 'only-english',
  setup: ({ onResolve }) =>
    onResolve({ filter: /\/locales\/index\.js$/ }, ({ importer, resolveDir }) =>
      /[\\/]zod[\\/]/.test(importer) ? { path: resolve(resolveDir, '../locales/en.js') } : undefined,
    ),
};

/** A name that is the same on every machine. */
function nameOf(path: string, root: string, folder: string): string {
  const installed = path.lastIndexOf(`${sep}node_modules${sep}`);
  const shown =
    installed >= 0
      ? path.slice(installed + 1)
      : path.startsWith(root)
        ? `isthmus/${relative(root, path)}`
        : `pipeline/${relative(folder, path)}`;
  return shown.split(sep).join('/');
}

function withNames(map: Uint8Array, named: (path: string) => string): Uint8Array {
  const parsed = JSON.parse(Buffer.from(map).toString()) as { sources: string[] };
  const sources = parsed.sources.map(named);
  return Buffer.from(JSON.stringify({ ...parsed, sources }));
}

function sumsOf(
  inputs: readonly (readonly [string, { readonly bytesInOutput: number }])[],
  named: (path: string) => string,
): (readonly [string, number])[] {
  const sums = new Map<string, number>();
  for (const [path, { bytesInOutput }] of inputs) {
    const name = named(path);
    const group = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(name)?.[1] ?? (name.split('/')[0] || 'isthmus');
    sums.set(group, (sums.get(group) ?? 0) + bytesInOutput);
  }
  return [...sums].sort(([, a], [, b]) => b - a);
}
