import type { JsonValue, RunContext } from '../../core/api/index.ts';

/** A run for a source that is tried by itself; its notes end with it. */
export function runContext(run: Partial<RunContext> = {}): RunContext {
  let kept: JsonValue | undefined;
  return {
    pipeline: 'suite',
    runId: 'suite',
    purpose: 'run',
    begins: async () => {},
    lasts: 'process',
    reset: false,
    notes: {
      read: async () => kept,
      write: async (value) => {
        kept = value;
      },
    },
    ...run,
  };
}
