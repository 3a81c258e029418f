import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import type { JsonValue } from '../api/json.ts';
import type {
  PluginDefinition,
  SinkDefinition,
  SourceDefinition,
  StateDefinition,
  StepDefinition,
} from '../api/plugin.ts';
import { visible } from '../api/text.ts';
import type { PipelineData, Places } from './data.ts';
import { explain, unknown } from './explain.ts';
import { isCircle, refusedByOperator } from './identities.ts';
import type { Environment } from './interpolate.ts';
import { fillIn, type Path, type Plain, pathId } from './plain.ts';
import { InvalidPipeline, type Problem } from './problem.ts';
import { regionWarning } from './regions.ts';
import { keysOf, readScalar, valueAt } from './schema-keys.ts';
import { endpointSpec, type PipelineSpec, pipelineSpec } from './spec.ts';
import { filterWarnings } from './sync-spec.ts';

export type { PipelineData, Places } from './data.ts';

/** A plugin with its validated options. */
export interface Configured<Definition extends PluginDefinition> {
  readonly plugin: Definition;
  readonly config: object;
  /** As written, variables filled in: two pipelines with equal values read or write the same place. */
  readonly written: JsonValue;
}

export interface Pipeline
  extends Omit<PipelineSpec, 'source' | 'sink' | 'through' | 'state' | 'receipts' | 'deadLetters'> {
  readonly file: string;
  readonly baseDir: string;
  readonly sources: readonly Configured<SourceDefinition>[];
  readonly sinks: readonly Configured<SinkDefinition>[];
  /** The steps between them. */
  readonly through: readonly Configured<StepDefinition>[];
  readonly state: Configured<StateDefinition> | undefined;
  readonly receipts: Configured<SinkDefinition> | undefined;
  readonly deadLetters: Configured<SinkDefinition> | undefined;
  readonly warnings: readonly Problem[];
}

export interface ValidateOptions {
  readonly plugins: readonly PluginDefinition[];
  readonly environment: Environment;
}

/** Fills in variables and validates. @throws InvalidPipeline with every mistake. */
export function validatePipeline(written: PipelineData, options: ValidateOptions): Pipeline {
  const problems: Problem[] = [...(written.problems ?? [])];
  const plain = fillIn(written.data, options.environment, (path, message) => {
    problems.push({ ...written.places?.placeOf(path, false), path: path.join('.'), message });
  });
  const pipeline = new Validation(written.places, plain, options, problems).pipeline(written.file);
  if (problems.length > 0 || pipeline === undefined) throw new InvalidPipeline(written.file, problems);
  return pipeline;
}

class Validation {
  readonly #places: Places | undefined;
  readonly #plain: Plain;
  readonly #options: ValidateOptions;
  readonly #problems: Problem[];
  readonly #warnings: Problem[] = [];
  readonly #told: Set<string | undefined>;
  #identities: Readonly<Record<string, { readonly kind: string }>> = {};

  constructor(places: Places | undefined, plain: Plain, options: ValidateOptions, problems: Problem[]) {
    this.#places = places;
    this.#plain = plain;
    this.#options = options;
    this.#problems = problems;
    this.#told = new Set(problems.map(({ path }) => path));
  }

  /** A value that came from a variable is not shown: nobody knows what else it is good for. */
  #unquoted(path: Path, message: string): string {
    const value = valueAt(this.#plain.value, path);
    if (typeof value !== 'string' || value === '' || !this.#plain.interpolated.has(pathId(path))) return message;
    return message.replaceAll(visible(value), 'its value');
  }

  pipeline(file: string): Pipeline | undefined {
    const value = this.#plain.value as Readonly<Record<string, unknown>>;
    const spec = this.#check(pipelineSpec, value, []);
    this.#identities = spec?.identities ?? this.#readableIdentities(value);
    const sources = this.#endpoints(value, 'source');
    const sinks = this.#endpoints(value, 'sink');
    const through = this.#steps(value.through);
    const optional = (key: string, kind: PluginDefinition['kind']) =>
      value[key] === undefined ? undefined : this.#endpoint(value[key], kind, [key]);
    const state = optional('state', 'state');
    const [receipts, deadLetters] = [optional('receipts', 'sink'), optional('deadLetters', 'sink')];
    if (value.state === undefined) this.#checkMemory(value, sources as (Configured<SourceDefinition> | undefined)[]);
    for (const [name, identity] of Object.entries(this.#identities)) {
      if ('aws' in identity) this.#identity(identity.aws, ['aws'], ['identities', name, 'aws']);
      if ('google' in identity) this.#identity(identity.google, ['gcp'], ['identities', name, 'google']);
      const place = ['identities', name] as const;
      if (isCircle(this.#identities, name)) this.#problem(place, false, 'refers to itself in a circle');
      for (const { key, message } of refusedByOperator(identity, this.#options.environment))
        this.#problem([...place, key], false, message);
    }
    if (spec === undefined) return undefined;
    for (const { path, message } of filterWarnings(spec.filter)) this.#problem(path, false, message, this.#warnings);
    return {
      ...spec,
      file,
      baseDir: dirname(resolve(file)),
      sources: sources as Configured<SourceDefinition>[],
      sinks: sinks as Configured<SinkDefinition>[],
      through: through as Configured<StepDefinition>[],
      state: state as Configured<StateDefinition> | undefined,
      receipts: receipts as Configured<SinkDefinition> | undefined,
      deadLetters: deadLetters as Configured<SinkDefinition> | undefined,
      warnings: this.#warnings,
    };
  }

  /** What is to remember must have a place to do so. */
  #checkMemory(
    value: Readonly<Record<string, unknown>>,
    sources: readonly (Configured<SourceDefinition> | undefined)[],
  ) {
    for (const [index, source] of sources.entries()) {
      const option = source?.plugin.remembers?.(source.config);
      if (option === undefined) continue;
      const path = Array.isArray(value.source) ? ['source', index] : ['source'];
      const message =
        'needs a `state`, or everything is carried again each time. Set state: { use: s3, with: { bucket: … } }';
      this.#problem([...path, 'with', ...option.split('.')], false, message);
    }
  }

  /** So that one mistake in an identity does not make every mention of it another. */
  #readableIdentities(value: Readonly<Record<string, unknown>>): Record<string, { kind: string }> {
    const kinds = z.record(z.string(), z.looseObject({ kind: z.string() })).safeParse(value.identities);
    return kinds.data ?? {};
  }

  #endpoints(value: Readonly<Record<string, unknown>>, kind: 'source' | 'sink'): unknown[] {
    const written = value[kind];
    if (written === undefined || written === null) this.#problem([kind], false, 'is required');
    else if (Array.isArray(written) && written.length === 0) this.#problem([kind], false, 'needs at least one entry');
    else if (Array.isArray(written)) return written.map((entry, index) => this.#endpoint(entry, kind, [kind, index]));
    else return [this.#endpoint(written, kind, [kind])];
    return [];
  }

  #steps(written: unknown): unknown[] {
    if (written === undefined) return [];
    if (Array.isArray(written)) return written.map((entry, index) => this.#step(entry, ['through', index]));
    this.#problem(['through'], false, 'must be a list of steps: - use: gzip');
    return [];
  }

  /** `- gzip` and `- gzip: { level: 9 }` are what people write first. */
  #step(written: unknown, path: Path): unknown {
    const [name, more] = typeof written === 'object' && written !== null ? Object.keys(written) : [written];
    const isStep = this.#options.plugins.some((plugin) => plugin.kind === 'step' && plugin.name === name);
    if (!isStep || more !== undefined) return this.#endpoint(written, 'step', path);
    return this.#problem(path, false, `a step is written - { use: ${name}${written === name ? '' : ', with: { … }'} }`);
  }

  #endpoint(written: unknown, kind: PluginDefinition['kind'], path: Path): Configured<PluginDefinition> | undefined {
    const endpoint = this.#check(endpointSpec, written, path);
    if (endpoint === undefined) return undefined;
    const candidates = this.#options.plugins.filter((plugin) => plugin.kind === kind);
    const plugin = candidates.find((candidate) => candidate.name === endpoint.use);
    // What follows from a plugin that cannot be loaded would only confuse.
    const isLost = [...this.#told].some((path) => path?.startsWith('plugins.'));
    if (plugin === undefined && isLost) return undefined;
    if (plugin === undefined) {
      this.#problem(
        [...path, 'use'],
        false,
        unknown(
          kind,
          endpoint.use,
          candidates.map((candidate) => candidate.name),
        ),
      );
      return undefined;
    }
    const options = endpoint.with ?? {};
    const config = this.#check(plugin.config, options, [...path, 'with']);
    if (plugin.identities !== undefined)
      this.#identity(options.identity, plugin.identities, [...path, 'with', 'identity']);
    if (typeof options.prefix === 'string' && options.prefix.startsWith('/')) {
      const message = `keys begin with an empty segment; did you mean "${options.prefix.replace(/^\/+/, '')}"?`;
      this.#problem([...path, 'with', 'prefix'], false, message, this.#warnings);
    }
    const region = typeof options.region === 'string' ? regionWarning(options.region) : undefined;
    if (config !== undefined && region !== undefined)
      this.#problem([...path, 'with', 'region'], false, region, this.#warnings);
    return config && { plugin, config, written: endpoint as JsonValue };
  }

  #identity(name: unknown, kinds: readonly string[], path: Path): void {
    if (typeof name !== 'string') return;
    const identity = Object.hasOwn(this.#identities, name) ? this.#identities[name] : undefined;
    if (identity === undefined) {
      this.#problem(path, false, unknown('identity', name, Object.keys(this.#identities)));
    } else if (!kinds.includes(identity.kind)) {
      this.#problem(path, false, `identity "${name}" is of kind ${identity.kind}; needed here: ${kinds.join(' or ')}`);
    }
  }

  /** Validates one part; texts that came from variables may also be read as numbers or booleans. */
  #check<Schema extends z.ZodType>(schema: Schema, value: unknown, path: Path): z.output<Schema> | undefined {
    const first = schema.safeParse(value, { reportInput: true });
    if (first.success) return first.data;
    const read = this.#readInterpolated(value, first.error.issues, path);
    const result = read === value ? first : schema.safeParse(read, { reportInput: true });
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      const keysAt = (at: Path): readonly string[] => keysOf(schema, at, valueAt(value, at));
      const textAt = (at: Path): string | undefined => this.#places?.textOf([...path, ...at]);
      for (const found of explain(issue, keysAt, textAt))
        this.#problem([...path, ...found.path], found.ofKey, found.message);
    }
    return undefined;
  }

  #readInterpolated(value: unknown, issues: readonly z.core.$ZodIssue[], path: Path): unknown {
    let read = value;
    for (const issue of issues) {
      if (issue.code !== 'invalid_type' || !this.#plain.interpolated.has(pathId([...path, ...issue.path]))) continue;
      const typed = readScalar(issue.input, issue.expected);
      if (typed === undefined) continue;
      if (read === value) read = structuredClone(value);
      let at = read as Record<PropertyKey, unknown>;
      for (const step of issue.path.slice(0, -1)) at = at[step] as Record<PropertyKey, unknown>;
      at[issue.path.at(-1) ?? ''] = typed;
    }
    return read;
  }

  /** One problem for a place: what follows from it would only confuse. */
  #problem(path: Path, ofKey: boolean, message: string, list = this.#problems): void {
    const shown = path.join('.');
    const told = list === this.#warnings ? `warning ${shown}` : shown;
    if (this.#told.has(told)) return;
    this.#told.add(told);
    list.push({ ...this.#places?.placeOf(path, ofKey), path: shown, message: this.#unquoted(path, message) });
  }
}
