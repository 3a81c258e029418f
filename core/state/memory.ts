import { z } from 'zod';
import { BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import { defineState } from '../api/plugin.ts';
import type { Revision, Saved, StateStore } from '../api/state.ts';

/** State that ends with the process. */
export class MemoryState implements StateStore {
  readonly #values = new Map<string, Saved>();
  #saves = 0;

  async load(key: string): Promise<Saved | undefined> {
    return structuredClone(this.#values.get(key));
  }

  async save(key: string, value: JsonValue, expected: Revision | undefined): Promise<Revision> {
    this.#expect(key, expected);
    const revision = String(++this.#saves) as Revision;
    this.#values.set(key, { value: structuredClone(value), revision });
    return revision;
  }

  async delete(key: string, expected: Revision): Promise<void> {
    this.#expect(key, expected);
    this.#values.delete(key);
  }

  async reset(key: string): Promise<void> {
    this.#values.delete(key);
  }

  #expect(key: string, expected: Revision | undefined): void {
    if (this.#values.get(key)?.revision === expected) return;
    throw new BrokerError('state_conflict', `the state of "${key}" was saved by another run`);
  }
}

export const memoryState = defineState({
  name: 'memory',
  summary: 'Keeps the checkpoint in memory: a stopped run starts over, and skips what is already copied.',
  stability: 'stable',
  lasts: 'process',
  config: z.strictObject({}),
  create: () => new MemoryState(),
});
