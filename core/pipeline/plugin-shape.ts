import { z } from 'zod';
import { contractProblem } from '../api/contract.ts';
import type { PluginDefinition } from '../api/plugin.ts';
import { visible } from '../api/text.ts';

const KINDS = ['source', 'sink', 'step', 'state'] as const;
const STABILITIES = ['stable', 'beta', 'experimental'] as const;
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** Of its JSON Schema; that of the largest plugin here has 20 KB. */
const LARGEST_SCHEMA = 256 * 1024;

/** Whether a module means this as a plugin, right or wrong. */
export function isMeant(value: unknown): value is Partial<Record<keyof PluginDefinition, unknown>> {
  return typeof value === 'object' && value !== null && 'kind' in value && 'create' in value;
}

/** What is wrong with a plugin; undefined when it can be used. Touches nothing but its definition. */
export function shapeProblem(plugin: Partial<Record<keyof PluginDefinition, unknown>>): string | undefined {
  const { kind, name, summary, stability, config, create, contract } = plugin;
  const shown = typeof name === 'string' ? `plugin "${visible(name)}"` : 'a plugin';
  if (!KINDS.includes(kind as (typeof KINDS)[number])) return `${shown}: its kind is none of ${KINDS.join(', ')}`;
  if (typeof name !== 'string' || !NAME.test(name))
    return `${shown}: its name must be 1 to 63 lower-case letters, digits and "-"`;
  const built = contractProblem(contract);
  if (built !== undefined) return `${shown}: ${built}`;
  if (typeof summary !== 'string' || summary === '') return `${shown}: it has no summary`;
  if (!STABILITIES.includes(stability as (typeof STABILITIES)[number]))
    return `${shown}: its stability is none of ${STABILITIES.join(', ')}`;
  if (typeof create !== 'function') return `${shown}: its create is no function`;
  if (!(config instanceof z.ZodObject)) return `${shown}: its config is no z.strictObject({ … })`;
  return schemaProblem(shown, config);
}

/** What editors and docs are given must be possible, and no book. */
function schemaProblem(shown: string, config: z.ZodObject): string | undefined {
  try {
    const { length } = JSON.stringify(z.toJSONSchema(config, { io: 'input' }));
    if (length > LARGEST_SCHEMA)
      return `${shown}: its options make a JSON Schema of ${length} characters, and ${LARGEST_SCHEMA} are allowed`;
    return undefined;
  } catch (error) {
    return `${shown}: its options make no JSON Schema: ${error instanceof Error ? visible(error.message) : 'unknown'}`;
  }
}
