import type { Logger } from '../api/runtime.ts';
import type { Observer } from '../engine/job.ts';

/** Every item has its line with `--log json`; for people only what went wrong. */
export function eventsTo(log: Logger): Observer {
  return {
    started: ({ runId, resumed }) => log.info('run started', { runId, resumed }),
    receipt: ({ failure, checksums, notes, ...receipt }) => {
      const fields = {
        ...receipt,
        ...failure,
        ...checksums,
        ...(notes === undefined ? {} : { notes: notes.join('; ') }),
      };
      if (failure === undefined) log.info('item', fields);
      else log.info('item failed', fields);
    },
  };
}
