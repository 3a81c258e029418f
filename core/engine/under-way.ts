import { asBrokerError } from '../api/errors.ts';
import type { Logger } from '../api/runtime.ts';
import type { Sink, Unfinished } from '../api/sink.ts';
import type { Begun } from './checkpoint.ts';

/** The writes that are under way, and those of a process before that nobody has gone on with. */
export class UnderWay {
  readonly #begun = new Map<string, Begun>();
  readonly #left = new Map<string, Begun>();
  readonly #now: () => number;

  constructor(left: readonly Begun[], now: () => number) {
    this.#now = now;
    for (const one of left) {
      this.#left.set(nameOf(one.sink, one.key), one);
      this.#begun.set(nameOf(one.sink, one.key), one);
    }
  }

  /** All that a process which is killed now would leave. */
  get all(): readonly Begun[] {
    return [...this.#begun.values()];
  }

  /** Bytes that need not be sent again. */
  get bytes(): number {
    return this.all.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  }

  /** Something is begun anew: what was left before is none that could be gone on with. */
  begin(sink: number, key: string): void {
    const name = nameOf(sink, key);
    this.#begun.set(name, { sink, key, since: this.#begun.get(name)?.since ?? this.#now() });
  }

  /** The write is over, and has left nothing. */
  settled(sink: number, key: string): void {
    this.#begun.delete(nameOf(sink, key));
  }

  /** @param told called when there is something that a process after this one can go on with. */
  unfinished(sink: number, key: string, told: () => void): Unfinished {
    const name = nameOf(sink, key);
    const { left } = this.#left.get(name) ?? {};
    this.#left.delete(name);
    return {
      left,
      tell: (progress, bytes) => {
        const known = this.#begun.get(name);
        this.#begun.set(name, { sink, key, since: known?.since ?? this.#now(), left: progress, bytes });
        // How far it is can be asked of the sink.
        if (JSON.stringify(known?.left) !== JSON.stringify(progress)) told();
      },
    };
  }

  /**
   * Removes what a process that was killed may have left. What cannot be removed is no reason to stop.
   *
   * @param which `unknown` at the beginning; at the end `unused`: what somebody could have gone on with, and nobody has.
   */
  async tidy(sinks: readonly Sink[], which: 'unknown' | 'unused', signal: AbortSignal, log: Logger): Promise<void> {
    for (const [name, { sink, key, since, left }] of this.#left) {
      if ((left === undefined) !== (which === 'unknown')) continue;
      try {
        await sinks[sink]?.tidy?.(key, { since, signal, left });
        this.#begun.delete(name);
        this.#left.delete(name);
      } catch (thrown) {
        const { code, message, hint } = asBrokerError(thrown);
        if (code === 'stopped') throw thrown;
        log.warn('a killed run has left something that cannot be removed', { key, code, message, hint });
      }
    }
  }
}

const nameOf = (sink: number, key: string): string => `${sink} ${key}`;
