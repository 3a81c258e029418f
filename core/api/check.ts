import { asBrokerError } from './errors.ts';

/** One finding about access: what was tried, what came of it, and the fix if it failed. */
export interface Check {
  readonly name: string;
  readonly verdict: 'pass' | 'warn' | 'fail';
  readonly detail: string;
  /** An instruction. */
  readonly hint?: string;
  /** The code of the error, and the id of exactly this failure where it has one. */
  readonly code?: string;
  readonly id?: string;
}

/** Tries something and makes a finding of how it went. @throws only what says that the run was stopped. */
export async function checked(name: string, work: () => Promise<string>): Promise<Check> {
  try {
    return { name, verdict: 'pass', detail: await work() };
  } catch (thrown) {
    const { code, id, message, hint, next } = asBrokerError(thrown);
    if (code === 'stopped') throw thrown;
    // What only has to be waited for is nothing to mend.
    const verdict = next === 'wait' ? 'warn' : 'fail';
    return { name, verdict, detail: message, hint, code, ...(id === undefined ? {} : { id }) };
  }
}
