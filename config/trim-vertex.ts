import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Plugin } from 'esbuild';
import type { Pipeline } from '../core/pipeline/validate.ts';

const OURS = /[\\/]plugins[\\/]vertexai[\\/]/;
const CLIENT = /[\\/]@google-cloud[\\/]aiplatform[\\/]build[\\/]/;
/** What batch prediction jobs need of the API. */
const ROOTS = [
  'google.cloud.aiplatform.v1.JobService',
  'google.longrunning.Operations',
  'google.longrunning.Operation',
];

interface Method {
  readonly requestType: string;
  readonly responseType: string;
  /** What a long running operation answers in the end is named among them. */
  readonly options?: unknown;
  readonly parsedOptions?: unknown;
}

/** A node of a protobuf descriptor in JSON, as Google's clients bring it along. */
interface Node {
  readonly nested?: Readonly<Record<string, Node>>;
  readonly fields?: Readonly<Record<string, { readonly type: string }>>;
  readonly methods?: Readonly<Record<string, Method>>;
  readonly [member: string]: unknown;
}

/**
 * What of Google's client for Vertex AI goes into a bundle: without it all of gRPC, and the descriptors of every service
 * in two versions, which it reads whole at each start (3.1 MB and 760 ms, measured; docs/performance.md).
 *
 * @returns nothing for a pipeline that asks for gRPC, or has no such source.
 */
export function trimVertex({ sources }: Pick<Pipeline, 'sources'>): readonly Plugin[] {
  const used = sources.filter(({ plugin }) => plugin.name === 'vertexai').map(({ config }) => config as VertexOptions);
  if (used.length === 0 || used.some(({ batch, transport }) => batch !== undefined && transport === 'grpc')) return [];
  return used.some(({ batch }) => batch !== undefined) ? [withoutGrpc] : [withoutClient];
}

interface VertexOptions {
  readonly batch?: unknown;
  readonly transport: 'rest' | 'grpc';
}

/** Only jobs are asked for with the client. */
const withoutClient: Plugin = {
  name: 'without-vertex-client',
  setup: ({ onResolve, onLoad }) => {
    // Other plugins may need the same packages.
    onResolve({ filter: /^(@google-cloud\/aiplatform\/|google-gax|google-auth-library$)/ }, ({ path, importer }) =>
      OURS.test(importer) ? { path, namespace: 'left-out' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'left-out' }, () => ({ contents: 'module.exports = {};', loader: 'js' }));
  },
};

const withoutGrpc: Plugin = {
  name: 'without-grpc',
  setup: ({ onResolve, onLoad }) => {
    // Of the main module the client uses two functions, and ours nothing unless gRPC is asked for.
    onResolve({ filter: /^google-gax$/ }, ({ importer }) => {
      if (CLIENT.test(importer)) return { path: 'of-the-client', namespace: 'gax' };
      return OURS.test(importer) ? { path: 'of-ours', namespace: 'gax' } : undefined;
    });
    onLoad({ filter: /^of-ours$/, namespace: 'gax' }, () => ({ contents: 'module.exports = {};', loader: 'js' }));
    onLoad({ filter: /^of-the-client$/, namespace: 'gax' }, () => {
      const found = createRequire(import.meta.url).resolve('google-gax/fallback');
      const util = join(dirname(found), 'util.js');
      return {
        resolveDir: dirname(found),
        loader: 'js',
        contents: `const fallback = require('google-gax/fallback');
module.exports = { ...fallback, fallback, loggingUtils: require('google-logging-utils'),
  decodeAnyProtosInArray: require(${JSON.stringify(util)}).decodeAnyProtosInArray };`,
      };
    });
    onLoad({ filter: /aiplatform[\\/]build[\\/]protos[\\/]protos\.json$/ }, async ({ path }) => {
      const root = JSON.parse(await readFile(path, 'utf8')) as Node;
      return { contents: JSON.stringify(reachable(root, ROOTS)), loader: 'json' };
    });
  },
};

/** The part of a descriptor that the given services and messages need. */
export function reachable(root: Node, roots: readonly string[]): Node {
  const find = (name: string): Node | undefined =>
    name.split('.').reduce<Node | undefined>((node, part) => node?.nested?.[part], root);
  /** Types are named from where they are used, outwards. */
  const named = (type: string, scope: string): string | undefined => {
    if (type.startsWith('.')) return find(type.slice(1)) && type.slice(1);
    const parts = scope.split('.');
    for (let length = parts.length; length >= 0; length--) {
      const full = [...parts.slice(0, length), type].join('.');
      if (find(full) !== undefined) return full;
    }
    return undefined;
  };
  const kept = new Set<string>();
  const waiting = [...roots];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (kept.has(name)) continue;
    kept.add(name);
    const { fields = {}, methods = {} } = find(name) ?? {};
    const types = [
      ...Object.values(fields).map(({ type }) => type),
      ...Object.values(methods).flatMap(({ requestType, responseType, options, parsedOptions }) => [
        requestType,
        responseType,
        ...texts(options),
        ...texts(parsedOptions),
      ]),
    ];
    for (const type of types) {
      const full = named(type, name);
      if (full !== undefined) waiting.push(full);
    }
  }
  const holds = (name: string): boolean => kept.has(name) || [...kept].some((one) => one.startsWith(`${name}.`));
  const cut = (node: Node, name: string): Node => {
    const nested = Object.entries(node.nested ?? {})
      .map(([part, inner]) => [part, inner, name === '' ? part : `${name}.${part}`] as const)
      .filter(([, , full]) => holds(full))
      .map(([part, inner, full]) => [part, cut(inner, full)] as const);
    const { nested: _, ...own } = node;
    const members = kept.has(name) || name === '' ? own : {};
    return nested.length === 0 ? members : { ...members, nested: Object.fromEntries(nested) };
  };
  return cut(root, '');
}

/** Every text within a value. */
function texts(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(texts) : [];
}
