import type { Entry } from './error-entry.ts';

/** What can go wrong with jobs that a cloud runs for a source, and with what models answer. */
export const JOB_CODES = {
  job_failed: {
    next: 'run',
    title: 'A job in the cloud failed',
    cause: 'The message holds the reason that the cloud gives.',
    fix: 'Mend what the message names and run again: the run begins a new job.',
  },
  job_cancelled: {
    next: 'run',
    title: 'A job in the cloud was cancelled or expired',
    cause: 'Somebody cancelled it, or it was not finished within the time that it was given.',
    fix: 'Run again: the run begins a new job.',
  },
  quota_exceeded: {
    next: 'run',
    title: 'A quota of the project is used up',
    cause: 'A daily quota, such as 50 TiB of exports, or one that only an administrator can raise.',
    fix: 'Run again when the quota is renewed, or ask for more.',
  },
  budget_exceeded: {
    next: 'run',
    title: 'The run would cost more than it may',
    cause: 'A query reads more than `maxBytesBilled`, or the answers of a model used more tokens than `budget` allows.',
    fix: 'Look at `isthmus plan`; then narrow what is asked for, or raise the limit.',
  },
  rows_filtered: {
    next: 'run',
    title: 'The identity sees only a part of the rows, or masked values',
    cause: 'A row access policy or a masking rule applies to it; BigQuery leaves rows out without an error.',
    fix: 'Give the identity full access to the table, or set `allowFiltered: true` if that part is what you want.',
  },
  files_missing: {
    next: 'run',
    title: 'The staging bucket does not hold what the job says it wrote',
    cause: 'A lifecycle rule, a person or another program deleted files of an export that is under way.',
    fix: 'Run again: a new export is made. Keep others away from the staging prefix.',
  },
  too_many_failures: {
    next: 'run',
    title: 'Too many rows failed',
    cause: 'Something is wrong with all of them, or with the request: going on would only cost money.',
    fix: 'Mend what the last one failed for, and run again.',
  },
  answer_refused: {
    next: 'item',
    title: 'An answer of the model is not what was asked for',
    cause: 'The row or file is malformed, or its answer was blocked, cut off, empty, or did not fit the schema.',
    fix: 'Look at the reason, for rows in the dead letters; mend the row or the prompt, or raise `maxFailedRatio`.',
  },
} as const satisfies Record<string, Entry>;
