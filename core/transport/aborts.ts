import type { BrokerError } from '../api/errors.ts';
import { stopped } from './failure.ts';

/** Signals that nothing is under way for, and that may be asked for again. */
const MOST_RESTING = 8;

interface Abortable {
  destroy(reason: BrokerError): void;
}

interface Group {
  readonly under: Set<Abortable>;
  readonly signal: AbortSignal;
  readonly abort: () => void;
}

/** Ends what is under way when a signal fires: one listener for each signal, since runs share one for all requests. */
export class Aborts implements Disposable {
  readonly #groups = new Map<AbortSignal, Group>();
  readonly #of = new Map<Abortable, Group>();

  add(signal: AbortSignal, one: Abortable): void {
    const group = this.#groups.get(signal) ?? this.#group(signal);
    group.under.add(one);
    this.#of.set(one, group);
  }

  remove(one: Abortable): void {
    const group = this.#of.get(one);
    if (group === undefined) return;
    this.#of.delete(one);
    group.under.delete(one);
    if (group.under.size === 0 && this.#groups.size > MOST_RESTING) this.#forget(group);
  }

  #group(signal: AbortSignal): Group {
    const under = new Set<Abortable>();
    const abort = (): void => {
      for (const one of [...under]) one.destroy(stopped());
    };
    const group = { under, signal, abort };
    signal.addEventListener('abort', abort);
    this.#groups.set(signal, group);
    return group;
  }

  #forget({ signal, abort }: Group): void {
    signal.removeEventListener('abort', abort);
    this.#groups.delete(signal);
  }

  [Symbol.dispose](): void {
    for (const group of this.#groups.values()) this.#forget(group);
    this.#of.clear();
  }
}
