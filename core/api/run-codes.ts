import type { Entry } from './error-entry.ts';

/** What can be wrong with a run as a whole, its plan and its state. */
export const RUN_CODES = {
  not_carried: {
    next: 'item',
    title: 'A part of a distributed run was not carried',
    cause: 'Its child failed or was ended before it could say what became of its items, or was never begun.',
    fix: 'Start the state machine again with the input {"again": true}: it carries what is missing.',
  },
  too_many_failed: {
    next: 'run',
    title: 'More parts of a distributed run failed than may',
    cause: 'What fails everywhere, such as a right that is missing; the rest was not begun.',
    fix: 'Mend what the failures of the report name; then start the state machine again with the input {"again": true}.',
  },
  no_progress: {
    next: 'run',
    title: 'A run was called again and again, and carried nothing more',
    cause: 'One object takes longer than one invocation lasts, or the function was continued too often.',
    fix: 'Raise `deploy.timeout` and `deploy.memorySize`, or run the pipeline as a container.',
  },
  delete_guard: {
    next: 'run',
    title: 'More would be deleted than may be',
    cause: 'The source holds less than before, or the limits of `delete` are too narrow. Nothing was deleted.',
    fix: 'Look at `isthmus plan`; then mend the source, or raise `delete.maxCount` or `delete.maxPercent`.',
  },
  invalid_plan: {
    next: 'run',
    title: 'The plan cannot be applied',
    cause: 'The file was cut off or changed, or was made for another pipeline or by a newer release.',
    fix: 'Make it anew: `isthmus plan PIPELINE --out plan.jsonl`.',
  },
  list_order: {
    next: 'run',
    title: 'A listing is out of order',
    cause: 'The server listed keys out of byte order, twice, or in a loop; comparing would be wrong.',
    fix: 'Use a server that lists in UTF-8 byte order, or `compare: always`.',
  },
  state_conflict: {
    next: 'run',
    title: 'Another run of this pipeline saved its state first',
    cause: 'Two runs of one pipeline were under way at once.',
    fix: 'Let the other run finish, then run again. No object was harmed.',
  },
  state_full: {
    next: 'run',
    title: 'There is no space for the state',
    cause: 'The disk or the quota of the folder of the state is full.',
    fix: 'Free some space and run again; what was saved before is still there.',
  },
  state_unreadable: {
    next: 'run',
    title: 'The saved state cannot be used',
    cause: 'It is damaged, of a newer release, or of a pipeline with another source or sink.',
    fix: 'Run with --reset-state to begin from the start; what is already copied is recognised.',
  },
} as const satisfies Record<string, Entry>;
