import type { Grant } from '../api/plugin.ts';
import type { Pipeline } from './validate.ts';

/** What the identities of a pipeline must be allowed, as its plugins declare it. */
export function grantsOf({ sources, sinks, state }: Pipeline): readonly Grant[] {
  const endpoints = [...sources, ...sinks, ...(state === undefined ? [] : [state])];
  return endpoints.flatMap(({ plugin, config }) => plugin.grants?.(config) ?? []);
}
