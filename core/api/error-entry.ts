/**
 * What whoever catches an error does next: try the item again, give up on the item, end the run, or save the
 * checkpoint and call again later.
 */
export type NextStep = 'retry' | 'item' | 'run' | 'wait';

export interface Entry {
  readonly next: NextStep;
  readonly title: string;
  readonly cause: string;
  readonly fix: string;
}
