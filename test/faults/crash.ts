import { BrokerError, type JsonValue, type Revision, type Saved, type StateStore } from '../../core/api/index.ts';
import type { LocalServer } from '../cloud/server.ts';

/**
 * A process that dies at its nth step: every request to a cloud and every access to the state is a step. The step
 * itself is carried out, or not, and nothing that comes after it.
 */
export class Crash {
  readonly #at: number;
  readonly #carriedOut: boolean;
  readonly #end = new AbortController();
  steps = 0;

  /** @param at from 1; Infinity counts only. @param carriedOut whether the last step still happens. */
  constructor(at: number, carriedOut: boolean) {
    this.#at = at;
    this.#carriedOut = carriedOut;
  }

  /** Fires with the death: whatever the dead process would still do comes to nothing. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Counts a step. @returns whether it is carried out, and whether its answer arrives. */
  #step(): { readonly happens: boolean; readonly told: boolean } {
    const step = ++this.steps;
    if (step < this.#at) return { happens: true, told: true };
    queueMicrotask(() => this.#end.abort());
    return { happens: step === this.#at && this.#carriedOut, told: false };
  }

  watch(servers: readonly LocalServer[]): void {
    for (const server of servers) {
      let happens = false;
      server.faults.add(
        () => {
          const step = this.#step();
          happens = step.happens;
          return !step.told && happens;
        },
        { kind: 'reset-after' },
        Number.POSITIVE_INFINITY,
      );
      server.faults.add(() => this.steps >= this.#at && !happens, { kind: 'reset-before' }, Number.POSITIVE_INFINITY);
    }
  }

  state(inner: StateStore): StateStore {
    const step = async <T>(work: () => Promise<T>): Promise<T> => {
      const { happens, told } = this.#step();
      const value = happens ? await work() : undefined;
      if (!told) throw new BrokerError('stopped', 'the process is dead');
      return value as T;
    };
    return {
      load: (key, options): Promise<Saved | undefined> => step(() => inner.load(key, options)),
      save: (key: string, value: JsonValue, expected: Revision | undefined, options): Promise<Revision> =>
        step(() => inner.save(key, value, expected, options)),
      delete: (key, expected, options) => step(() => inner.delete(key, expected, options)),
      reset: (key, options) => step(() => inner.reset(key, options)),
    };
  }
}
