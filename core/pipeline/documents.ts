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
      state: { ...endpoint('state'), description: 'Where the checkpoint is kept. Default: memory.' },
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
  return Object.entries(schema.properties ?? {}).map(([name, option]) => ({
    name,
    type: typeOf(option),
    required: schema.required?.includes(name) === true,
    default: option.default === undefined ? '' : JSON.stringify(option.default),
    description: String(option.description ?? ''),
  }));
}

function typeOf(option: Schema): string {
  if (option.const !== undefined) return String(option.const);
  // One, or a list of the same.
  if (Array.isArray(option.anyOf)) return `${typeOf(option.anyOf[0] as Schema)}, or a list`;
  if (Array.isArray(option.enum)) return option.enum.join(' \\| ');
  if (option.format !== undefined) return String(option.format).replace('byte-size', 'size');
  if (option.identity === true) return 'identity';
  if (option.type === 'array') return `list of ${typeOf((option.items ?? {}) as Schema)}`;
  const names: Record<string, string> = {
    string: 'text',
    object: 'mapping',
    integer: 'integer',
    number: 'integer',
    boolean: 'true \\| false',
  };
  return names[String(option.type)] ?? String(option.type ?? 'any');
}
