import { asBrokerError } from '../api/errors.ts';
import type { Logger } from '../api/runtime.ts';
import type { Sink, Unfinished } from '../api/sink.ts';
import type { Begun } from './checkpoint.ts';

/** The writes that are under way, and those of a process before that nobody has gone on with. */
export class UnderWay {
  readonly #begun = new Map<string, Begun>();
  readonly #left = new Map<string, Begun>();
  /** In sinks that the pipeline does not have any more. */
  readonly #stranded: readonly Begun[];
  readonly #sinks: readonly Pick<Sink, 'location'>[];
  readonly #now: () => number;

  /** @param sinks of the pipeline as it is now. */
  constructor(left: readonly Begun[], sinks: readonly Pick<Sink, 'location'>[], now: () => number) {
    this.#sinks = sinks;
    this.#now = now;
    const isHere = ({ sink, at }: Begun): boolean => at === undefined || at === sinks[sink]?.location;
    this.#stranded = left.filter((one) => !isHere(one));
    for (const one of left.filter(isHere)) {
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
    this.#begun.set(name, this.#one(sink, key, this.#begun.get(name)?.since));
  }

  /** The write is over, and has left nothing; what was left before it, and nobody went on with, is still there. */
  settled(sink: number, key: string): void {
    const name = nameOf(sink, key);
    const left = this.#left.get(name);
    if (left === undefined) this.#begun.delete(name);
    else this.#begun.set(name, left);
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
        this.#begun.set(name, { ...this.#one(sink, key, known?.since), left: progress, bytes });
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
    if (which === 'unknown')
      for (const { at, key } of this.#stranded)
        log.warn('a killed run may have left something in a sink that the pipeline does not have any more', {
          sink: at ?? '',
          key,
          hint: 'Give the bucket a lifecycle rule that aborts incomplete multipart uploads.',
        });
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

  #one(sink: number, key: string, since = this.#now()): Begun {
    const at = this.#sinks[sink]?.location;
    return { sink, ...(at === undefined ? {} : { at }), key, since };
  }
}

const nameOf = (sink: number, key: string): string => `${sink} ${key}`;
