import type { Grant, PluginDefinition, Use } from '../api/plugin.ts';
import type { Configured, Pipeline } from './validate.ts';

/** What a pipeline does with its sources and its sinks. */
export const usesOf = ({ move, ...pipeline }: Pick<Pipeline, 'move' | 'delete'>): { source: Use; sink: Use } => ({
  source: move ? { deletes: true } : {},
  sink: pipeline.delete === undefined ? {} : { deletes: true },
});

/** A place that a pipeline names, and what is done with it. */
export interface UsedEndpoint {
  readonly endpoint: Configured<PluginDefinition>;
  readonly use: Use;
}

/** All that a pipeline names: sources, sinks, steps, state, and where receipts and dead letters go. */
export function endpointsOf(pipeline: Pipeline): readonly UsedEndpoint[] {
  const { sources, sinks, through, state, receipts, deadLetters } = pipeline;
  const { source, sink } = usesOf(pipeline);
  const kept = [state, receipts, deadLetters].filter((endpoint) => endpoint !== undefined);
  return [
    ...sources.map((endpoint) => ({ endpoint, use: source })),
    ...sinks.map((endpoint) => ({ endpoint, use: sink })),
    ...through.map((endpoint) => ({ endpoint, use: {} })),
    ...kept.map((endpoint) => ({ endpoint, use: {} })),
  ];
}

/** What the identities of a pipeline must be allowed, as its plugins declare it. */
export const grantsOf = (pipeline: Pipeline): readonly Grant[] =>
  endpointsOf(pipeline).flatMap(({ endpoint, use }) => endpoint.plugin.grants?.(endpoint.config, use) ?? []);
