import { appendFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { CANARY } from './cloud/principals.ts';

/** What no output may hold: the mark of the local cloud's secrets, and the shapes of tokens. */
const SECRETS: readonly RegExp[] = [new RegExp(CANARY), /ya29\.[\w.-]+/, /eyJ[\w-]{10,}\.[\w-]{10,}/];

/** A secret in an output, as far as it may be shown; undefined when there is none. */
export function leakIn(text: string): string | undefined {
  const found = SECRETS.map((shape) => shape.exec(text)).find((match) => match !== null);
  return found === undefined
    ? undefined
    : `${found[0].slice(0, 8)}… after ${JSON.stringify(text.slice(Math.max(0, found.index - 40), found.index))}`;
}

/** Searches one place for secrets and counts it. @throws when there is one. */
export function searchForLeaks(place: string, text: string): void {
  const file = process.env.ISTHMUS_LEAK_SEARCH;
  if (file !== undefined) appendFileSync(file, `${place}\n`);
  const leak = leakIn(text);
  if (leak !== undefined) throw new Error(`a secret in ${place}: ${leak}`);
}

/** All that can be seen of a value: as a log, a JSON logger, a debugger and an uncaught exception show it. */
export function searchValue(place: string, value: unknown): void {
  searchForLeaks(`${place}: inspected`, inspect(value, { depth: 10, showHidden: true, getters: true }));
  searchForLeaks(`${place}: as JSON`, JSON.stringify(value) ?? '');
  searchForLeaks(`${place}: as text`, String(value));
  if (value instanceof Error)
    searchForLeaks(`${place}: stack`, `${value.stack} ${inspect(value.cause, { depth: 10 })}`);
}

/** The error with which a promise is rejected, searched for secrets. */
export async function caught(promise: Promise<unknown> | undefined): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    searchValue('error', error);
    return error;
  }
  throw new Error('expected a failure');
}
