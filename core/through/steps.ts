import { hash } from 'node:crypto';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Item, Made } from '../api/item.ts';
import type { Beside, Step } from '../api/step.ts';
import type { Filter } from '../engine/filter.ts';
import type { KeyMap } from '../engine/key-map.ts';
import { isFolderMarker } from '../engine/naming.ts';

/** A step, with the name by which a pipeline uses it. */
export interface NamedStep {
  readonly name: string;
  readonly step: Step;
}

/** What the steps make of the description of an item. */
export interface Described {
  /** Under its new key; without size and checksums when its bytes are changed. */
  readonly item: Item;
  /** Why it is left out. */
  readonly left?: string;
  /** Those that change its bytes, in their order. */
  readonly changed: readonly NamedStep[];
}

/** The steps of a pipeline, in their order. */
export class Steps {
  readonly all: readonly NamedStep[];
  readonly besides: readonly Beside[];
  /** Of the steps and their options: what was made by others has another origin. */
  readonly #fingerprint: string;

  constructor(all: readonly NamedStep[], fingerprint: string) {
    this.all = all;
    this.besides = all.flatMap(({ step }) => step.beside ?? []);
    this.#fingerprint = fingerprint;
    refuseDisorder(all);
  }

  /** Whether they may change bytes, or add what is made of them. */
  get makes(): boolean {
    return this.all.some(({ step }) => step.bytes !== undefined || step.beside !== undefined);
  }

  describe(listed: Item): Described {
    // What stands for a folder has no content to work on; a name it has.
    const isMarker = isFolderMarker(listed);
    let item = listed;
    const changed: NamedStep[] = [];
    for (const named of this.all) {
      const { name, step } = named;
      if (isMarker && step.bytes !== undefined) continue;
      try {
        const left = step.leaves?.(item);
        if (left !== undefined) return { item, left: `the step ${name}: ${left}`, changed };
        const changes = step.bytes !== undefined && step.changes?.(item) !== false;
        item = changedBy(step, item);
        if (!changes) continue;
        changed.push(named);
        // Those of the original are true no more, and a later step must not take them for its own.
        const { size: _size, checksums: _checksums, ...rest } = item;
        item = rest;
      } catch (thrown) {
        const { code, message, hint } = failedStep(name, listed, thrown);
        return { item: { ...listed, problem: { code, message, hint } }, changed: [] };
      }
    }
    return changed.length === 0 ? { item, changed } : { item: { ...item, made: this.#made(listed, changed) }, changed };
  }

  /** Which files are put beside an item: none beside what stands for a folder. */
  besidesOf(listed: Item): readonly Beside[] {
    return listed.key === '' || isFolderMarker(listed) ? [] : this.besides;
  }

  #made(listed: Item, changed: readonly NamedStep[]): Made {
    const once = changed.some(({ step }) => step.repeats === false);
    const by = changed.map(({ name }) => name).join(', ');
    return { by, origin: this.#originOf(listed, ''), ...(once ? { once } : {}) };
  }

  /** Of all that tells one version from another, whatever its source calls it. Fit for a header. */
  #originOf({ id, size, checksums, modifiedAt }: Item, suffix: string): string {
    const version = JSON.stringify([id, size, checksums, modifiedAt, suffix]);
    return hash('sha256', `${this.#fingerprint} ${version}`, 'base64url');
  }

  /** What was made of an item beside it: made of the same, so named by the same. */
  besideMade(listed: Item, { suffix }: Beside): Made {
    return { by: suffix, origin: this.#originOf(listed, suffix) };
  }

  /** The bytes of an item as the steps leave them. */
  bytes(
    content: AsyncIterable<Uint8Array>,
    item: Item,
    changed: readonly NamedStep[],
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array> {
    let made: AsyncIterable<Uint8Array> = attributed(content, asBrokerError);
    for (const { name, step } of changed)
      if (step.bytes !== undefined)
        made = attributed(onlyBytes(step.bytes(made, item, { signal })), (thrown) => failedStep(name, item, thrown));
    return made;
  }

  /** The keys in the sources that may become one, back through all steps; undefined where a step does not tell. */
  #from(then: KeyMap | undefined): KeyMap['mayCome'] {
    const back = this.all
      .filter(({ step }) => step.from !== undefined || (step.keys ?? 'kept') !== 'kept')
      .map(({ step }) => step.from?.bind(step))
      .reverse();
    if (back.includes(undefined) || (then !== undefined && then.sourceKey === undefined)) return undefined;
    return (key) => {
      const named = this.besides.flatMap(({ suffix }) => (key.endsWith(suffix) ? [key.slice(0, -suffix.length)] : []));
      const before = [key, ...named].flatMap((one) =>
        then?.sourceKey === undefined ? [one] : (then.sourceKey(one) ?? []),
      );
      return back.reduce((keys, from) => keys.flatMap((one) => from?.(one) ?? []), before);
    };
  }

  /** What becomes of keys; `then`: the template of the pipeline, which is filled in with what the steps leave. */
  keyMap(then: KeyMap | undefined, collisions: KeyMap['collisions']): KeyMap | undefined {
    const kinds = new Set(this.all.map(({ step }) => step.keys ?? 'kept'));
    const kept = this.besides.length === 0 && [...kinds].every((kind) => kind === 'kept');
    if (kept) return then;
    const from = this.#from(then);
    return {
      ...(from === undefined ? {} : { mayCome: from }),
      of: (item) => {
        const told = passed(item.ref);
        const suffix = told?.beside === undefined ? '' : (this.besides[told.beside]?.suffix ?? '');
        // What is beside an item has the name that the item gets, and its suffix behind that.
        const { item: later } = told === undefined ? { item } : this.describe(told.of);
        const key = then === undefined ? later.key : then.of(later);
        return key === undefined ? undefined : key + suffix;
      },
      prefix: then?.prefix ?? '',
      ordered: false,
      unique: this.besides.length === 0 && !kinds.has('any') && then?.unique !== false,
      collisions: then?.collisions ?? collisions,
    };
  }
}

/** What the steps keep of an item that they pass on, as its `ref`. */
export interface Passed {
  /** As its source listed it. */
  readonly of: Item;
  readonly as: string;
  /** Why a step leaves it out. */
  readonly left?: string;
  /** It is the content beside the item: its place among the steps' besides. */
  readonly beside?: number;
}

/** @returns undefined for what no steps have passed on. */
export function passed(ref: Item['ref']): Passed | undefined {
  if (typeof ref !== 'object' || ref === null || Array.isArray(ref) || !('through' in ref)) return undefined;
  const { through } = ref;
  const isOurs = typeof through === 'object' && through !== null && 'of' in through && 'as' in through;
  return isOurs ? (through as unknown as Passed) : undefined;
}

/** An item as a step describes it. @throws Error for what no item can be, or what it has not declared. */
function changedBy(step: Step, item: Item): Item {
  const found: Partial<Item> = step.describe?.(item) ?? item;
  // What stands for the source itself has no name, and needs none.
  if (typeof found.key !== 'string' || (found.key === '' && item.key !== '') || typeof found.id !== 'string')
    throw new Error('what describe returns has no key or no id');
  if ((step.keys ?? 'kept') === 'kept' && found.key !== item.key)
    throw new Error(`it changes the key to "${found.key}": declare keys: 'unique', or 'any' where two may become one`);
  return found as Item;
}

/** Errors that are known to be of the source, or of a step: those after it only pass them on. */
const attributedErrors = new WeakSet<BrokerError>();

async function* onlyBytes(made: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  for await (const chunk of made) {
    if (!(chunk instanceof Uint8Array)) throw new Error('it gave something else than a Uint8Array');
    yield chunk;
  }
}

/** What it fails of is the item's: the others go on. */
async function* attributed(
  content: AsyncIterable<Uint8Array>,
  of: (thrown: unknown) => BrokerError,
): AsyncGenerator<Uint8Array> {
  try {
    yield* content;
  } catch (thrown) {
    if (thrown instanceof BrokerError && attributedErrors.has(thrown)) throw thrown;
    const error = of(thrown);
    attributedErrors.add(error);
    throw error;
  }
}

function failedStep(name: string, item: Item, thrown: unknown): BrokerError {
  const error = asBrokerError(thrown);
  if (error.code === 'step_failed') return new BrokerError('step_failed', `${name}: ${error.message}`);
  if (error.code !== 'internal') return error;
  return new BrokerError('step_failed', `${name}: ${item.id}: ${error.message}`);
}

/** @throws BrokerError for steps that cannot stand in this order. */
function refuseDisorder(all: readonly NamedStep[]): void {
  const refuse = (what: string, hint: string): never => {
    throw new BrokerError('invalid_config', `through: ${what}`, { hint });
  };
  const first = all.findIndex(({ step }) => step.beside !== undefined);
  if (first < 0) return;
  const later = all.slice(first + 1).find(({ step }) => step.bytes !== undefined);
  if (later !== undefined)
    refuse(`${later.name} changes what ${all[first]?.name} was made of`, `Put ${all[first]?.name} last.`);
  const once = all.find(({ step }) => step.repeats === false);
  if (once !== undefined)
    refuse(
      `what ${once.name} makes is not the same twice, and ${all[first]?.name} makes it a second time`,
      'Use one of both.',
    );
}

/** The filter of the pipeline looks at items as their sources list them; then comes what the steps leave out. */
export const throughFilter = (filter: Filter | undefined): Filter => ({
  key: (key) => filter?.key(key) ?? true,
  leaves: (item, since) => {
    const told = passed(item.ref);
    return filter?.leaves(told?.of ?? item, since) ?? told?.left;
  },
});
