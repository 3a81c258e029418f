/**
 * The version of the contract between Isthmus and plugins: of `Source`, `Sink`, `StateStore`, `Step` and what they are
 * given. It grows when a plugin that was built before would not do any more what the engine expects of it; what is
 * added and may be left out does not count. `defineSource` and its like put it into what they define, so a plugin
 * carries the version that it was built for.
 */
export const CONTRACT = 1;

/** Why a plugin that was built for another contract cannot be used; undefined when it can. */
export function contractProblem(built: unknown): string | undefined {
  if (built === CONTRACT) return undefined;
  if (built === undefined)
    return 'it does not say for which plugin contract it was built: make it with defineSource, defineSink, defineStep or defineState of isthmus';
  if (typeof built !== 'number') return 'what it says of its plugin contract is no number';
  return built > CONTRACT
    ? `it was built for plugin contract ${built}, and this release of Isthmus has ${CONTRACT}: install a newer isthmus`
    : `it was built for plugin contract ${built}, and this release of Isthmus has ${CONTRACT}: install a newer release of the plugin, or an older isthmus`;
}
