/**
 * What goes wrong with one request. Byte counts are of the answer's body.
 *
 * - `answer`: this status (with these headers and body) instead of the right answer; the request is not carried out,
 *   unless it says `after`.
 * - `reset-before`: the connection is reset before anything is done.
 * - `reset-after`: the request is carried out, then the connection is reset instead of answering.
 * - `reset-body`, `cut-body`, `stall-body`: after so many bytes the connection is reset, closed, or goes silent.
 * - `short-body`: the answer is chunked and ends properly after so many bytes.
 * - `corrupt-body`: this byte of the body is inverted.
 * - `drip-body`: the body comes byte by byte, one each so many milliseconds.
 * - `delay`: the answer comes so many milliseconds later.
 */
export type Fault =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string | Uint8Array;
      readonly after?: true;
    }
  | { readonly kind: 'reset-before' | 'reset-after' }
  | { readonly kind: 'reset-body' | 'cut-body' | 'stall-body' | 'short-body' | 'corrupt-body'; readonly at: number }
  | { readonly kind: 'delay' | 'drip-body'; readonly ms: number };

export interface Seen {
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
}

interface Planned {
  readonly fault: Fault;
  readonly matches: (request: Seen) => boolean;
  left: number;
}

/** The faults that a local server will commit, in the order in which they were asked for. */
export class Faults {
  readonly #planned: Planned[] = [];

  /**
   * @param matches which requests: a part of `METHOD /target`, or a function.
   * @param times how many of them; Infinity for all.
   */
  add(matches: string | RegExp | ((request: Seen) => boolean), fault: Fault, times = 1): void {
    const test =
      typeof matches === 'function'
        ? matches
        : ({ method, target }: Seen): boolean => {
            const line = `${method} ${target}`;
            return typeof matches === 'string' ? line.includes(matches) : matches.test(line);
          };
    this.#planned.push({ fault, matches: test, left: times });
  }

  clear(): void {
    this.#planned.length = 0;
  }

  /** The fault for this request, used up by asking. */
  take(request: Seen): Fault | undefined {
    const found = this.#planned.find((planned) => planned.left > 0 && planned.matches(request));
    if (found !== undefined) found.left--;
    return found?.fault;
  }
}
