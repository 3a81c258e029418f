import { z } from 'zod';
import type { PluginDefinition } from '../api/plugin.ts';
import { pipelineSpec } from './spec.ts';

type Schema = Record<string, unknown>;

/** The JSON Schema of pipeline files, for editors. Source: https://json-schema.org/draft/2020-12 */
export function pipelineJsonSchema(plugins: readonly PluginDefinition[]): Schema {
  const base = z.toJSONSchema(pipelineSpec, { io: 'input' }) as Schema & { properties: Record<string, Schema> };
  const endpoint = (kind: PluginDefinition['kind']): Schema => ({
    oneOf: plugins.filter((plugin) => plugin.kind === kind).map(useSchema),
  });
  const oneOrMany = (kind: PluginDefinition['kind']): Schema => ({
    anyOf: [endpoint(kind), { type: 'array', minItems: 1, items: endpoint(kind) }],
  });
  return {
    ...base,
    title: 'Isthmus pipeline',
    properties: {
      ...base.properties,
      source: { ...oneOrMany('source'), description: 'Where items come from: one, or a list.' },
      sink: {
        ...oneOrMany('sink'),
        description: 'Where items go: one, or a list; each item is written to every sink.',
      },
      through: {
        type: 'array',
        items: endpoint('step'),
        default: [],
        description: 'Steps between source and sink, in this order: what they make has another proof (docs/steps.md).',
      },
      state: { ...endpoint('state'), description: 'Where the checkpoint is kept. Default: memory.' },
      receipts: { ...endpoint('sink'), description: 'Where a line is kept for each item, bound to the one before it.' },
      deadLetters: {
        ...endpoint('sink'),
        description: 'Where items that were not carried are kept, as a plan for `isthmus apply`.',
      },
    },
    required: ['name', 'source', 'sink'],
  };
}

function useSchema(plugin: PluginDefinition): Schema {
  const { $schema: _, ...config } = z.toJSONSchema(plugin.config, { io: 'input' }) as Schema & { required?: string[] };
  return {
    type: 'object',
    description: plugin.summary,
    properties: { use: { const: plugin.name }, with: config },
    required: config.required === undefined ? ['use'] : ['use', 'with'],
    additionalProperties: false,
  };
}

/** One option of a plugin, as documentation shows it. */
export interface OptionDoc {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  readonly default: string;
  readonly description: string;
}

/** The options of a plugin, read from its schema. */
export const optionDocs = (plugin: PluginDefinition): OptionDoc[] => schemaDocs(plugin.config);

/** The keys of a mapping, read from its schema. */
export function schemaDocs(mapping: z.ZodType): OptionDoc[] {
  const schema = z.toJSONSchema(mapping, { io: 'input' }) as {
    properties?: Record<string, Schema>;
    required?: string[];
  };
  return rowsOf(schema, '');
}

interface Mapping extends Schema {
  readonly properties?: Record<string, Schema>;
  readonly required?: readonly string[];
}

/** A row for each key, those of mappings within the mapping after it: `staging`, `staging.bucket`. */
function rowsOf({ properties = {}, required = [] }: Mapping, before: string): OptionDoc[] {
  return Object.entries(properties).flatMap(([name, option]) => [
    {
      name: before + name,
      type: typeOf(option),
      required: required.includes(name),
      default: option.default === undefined ? '' : JSON.stringify(option.default),
      description: String(option.description ?? ''),
    },
    ...mappingsIn(option).flatMap((mapping) => rowsOf(mapping, `${before}${name}.`)),
  ]);
}

/** What an option is a mapping of: itself, or those that it may be; of several with one key each key is told once. */
function mappingsIn(option: Schema): readonly Mapping[] {
  const variants = (option.oneOf ?? option.anyOf ?? [option]) as readonly Mapping[];
  const mappings = variants.filter(({ properties }) => properties !== undefined);
  if (mappings.length < 2) return mappings;
  const properties: Record<string, Schema> = {};
  for (const { properties: own = {} } of mappings)
    for (const [name, one] of Object.entries(own)) {
      const known = properties[name]?.enum ?? [];
      properties[name] = one.const === undefined ? one : { enum: [...(known as unknown[]), one.const] };
    }
  return [{ properties, required: mappings[0]?.required ?? [] }];
}

function typeOf(option: Schema): string {
  if (option.const !== undefined) return String(option.const);
  const variants = (option.anyOf ?? option.oneOf) as readonly Schema[] | undefined;
  if (variants !== undefined) return [...new Set(variants.map(typeOf))].join(', or ');
  if (Array.isArray(option.enum)) return option.enum.join(' \\| ');
  if (option.format !== undefined) return String(option.format).replace('byte-size', 'size');
  if (option.identity === true) return 'identity';
  if (option.type === 'array') return `list of ${typeOf((option.items ?? {}) as Schema)}`;
  const names: Record<string, string> = {
    string: 'text',
    object: 'mapping',
    integer: 'integer',
    number: 'number',
    null: '`null`',
    boolean: 'true \\| false',
  };
  return names[String(option.type)] ?? String(option.type ?? 'any');
}
