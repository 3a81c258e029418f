/** How the names of the files end that a run keeps. */
export const RECEIPTS = '.receipts.jsonl';
export const DEAD_LETTERS = '.dead-letters.jsonl';
