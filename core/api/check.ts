/** One finding about access: what was tried, what came of it, and the fix if it failed. */
export interface Check {
  readonly name: string;
  readonly verdict: 'pass' | 'warn' | 'fail';
  readonly detail: string;
  readonly hint?: string;
}
