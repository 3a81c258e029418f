import { hash } from 'node:crypto';

/**
 * Where the parts of a distributed run keep what they tell each other: files in the folder of the run, and small values
 * that are compared and swapped in the state of the pipeline.
 */
export class Layout {
  readonly #pipeline: string;
  readonly #runId: string;

  constructor(pipeline: string, runId: string) {
    this.#pipeline = pipeline;
    this.#runId = runId;
  }

  get folder(): string {
    return `distributed/${this.#pipeline}/${this.#runId}/`;
  }

  /** Which keys each part of the listing begins and ends with. */
  get ranges(): string {
    return `${this.folder}ranges.json`;
  }

  /** One line for each shard: what Step Functions reads. @param attempt from 1 */
  manifest(attempt: number): string {
    return `${this.folder}manifest-${attempt}.jsonl`;
  }

  /** One line for each shard of what is to be deleted. */
  get deletes(): string {
    return `${this.folder}deletes.jsonl`;
  }

  /** What the manifest adds up to. */
  summary(attempt: number): string {
    return `${this.folder}plan-${attempt}.json`;
  }

  /** Lines of the manifest that one range has come to so far. */
  part(name: string): string {
    return `${this.folder}parts/${name}.jsonl`;
  }

  shard(name: string): string {
    return `${this.folder}shards/${name}.jsonl`;
  }

  /** What became of the shards, one file for each. */
  done(attempt: number, shard = ''): string {
    return `${this.folder}done-${attempt}/${shard === '' ? '' : `${shard}.json`}`;
  }

  /** Why a child could not say what became of its shard. */
  failed(attempt: number, shard: string): string {
    return `${this.folder}failed-${attempt}/${shard}.json`;
  }

  report(attempt: number): string {
    return `${this.folder}report-${attempt}.json`;
  }

  /** In the state: how far the listing of a range is. */
  listing(range: number): string {
    return `${this.#pipeline}.list-${this.#runId}-${range}`;
  }

  /** In the state: what the pieces of a large object are written to. */
  upload(shard: string): string {
    return `${this.#pipeline}.upload-${this.#runId}-${shard}`;
  }
}

/** An execution, and when it was started: a name may be used again. */
export interface Begun {
  readonly execution: string;
  readonly started: string;
}

/** The same for the same execution, so that a phase which comes twice finds what it did. */
export function runIdOf({ execution, started }: Begun): string {
  const digits = hash('sha256', `${execution} ${started}`).slice(0, 32);
  // In the form of a UUID of version 8, as the ids of other runs are UUIDs.
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    `8${digits.slice(13, 16)}`,
    `a${digits.slice(17, 20)}`,
    digits.slice(20),
  ].join('-');
}
