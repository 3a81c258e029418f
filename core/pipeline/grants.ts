import type { Grant, PluginDefinition, Use } from '../api/plugin.ts';
import type { Configured, Pipeline } from './validate.ts';

/** What a pipeline does with its sources and its sinks. */
export const usesOf = ({ move, ...pipeline }: Pick<Pipeline, 'move' | 'delete'>): { source: Use; sink: Use } => ({
  source: move ? { deletes: true } : {},
  sink: pipeline.delete === undefined ? {} : { deletes: true },
});

/** What the identities of a pipeline must be allowed, as its plugins declare it. */
export function grantsOf(pipeline: Pipeline): readonly Grant[] {
  const { sources, sinks, state, receipts, deadLetters } = pipeline;
  const uses = usesOf(pipeline);
  const all: readonly (readonly [Configured<PluginDefinition> | undefined, Use])[] = [
    ...sources.map((source) => [source, uses.source] as const),
    ...sinks.map((sink) => [sink, uses.sink] as const),
    ...[state, receipts, deadLetters].map((one) => [one, {}] as const),
  ];
  return all.flatMap(([endpoint, use]) => endpoint?.plugin.grants?.(endpoint.config, use) ?? []);
}
