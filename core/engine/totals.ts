import type { Sink } from '../api/sink.ts';
import type { Source } from '../api/source.ts';
import type { Action } from './plan.ts';

/** What a plan adds up to. A type and no interface, so that it counts as JSON. */
export type PlanTotals = {
  readonly actions: Readonly<Record<Action['action'], number>>;
  /** To be carried; of items whose size is known. */
  readonly bytes: number;
  /** Of the carrying, by name; listing both sides comes on top. */
  readonly requests: Readonly<Record<string, number>>;
  /** By the public prices, without discounts and tiers; what sources and sinks cannot tell is not in it. */
  readonly costUsd: number;
};

/** Adds up the actions of a plan. */
export class Totals {
  readonly #sources: readonly Source[];
  readonly #sinks: readonly Sink[];
  readonly #actions: Record<Action['action'], number> = { create: 0, update: 0, skip: 0, refuse: 0, delete: 0 };
  readonly #requests: Record<string, number> = {};
  #bytes = 0;
  #usd = 0;

  constructor({ sources, sinks }: { readonly sources: readonly Source[]; readonly sinks: readonly Sink[] }) {
    this.#sources = sources;
    this.#sinks = sinks;
  }

  add({ action, item, source, sink }: Action): void {
    this.#actions[action]++;
    if (action !== 'create' && action !== 'update') return;
    this.#bytes += item.size ?? 0;
    const written = this.#sinks[sink]?.estimate?.(item);
    const read = this.#sources[source]?.estimate?.(item, written?.reads ?? 1);
    for (const estimate of [written, read]) {
      for (const [name, count] of Object.entries(estimate?.requests ?? {}))
        this.#requests[name] = (this.#requests[name] ?? 0) + count;
      this.#usd += estimate?.usd ?? 0;
    }
  }

  get all(): PlanTotals {
    const costUsd = Number(this.#usd.toPrecision(3));
    return { actions: this.#actions, bytes: this.#bytes, requests: this.#requests, costUsd };
  }
}
