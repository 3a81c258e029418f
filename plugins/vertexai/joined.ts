import { BrokerError, type ByteStream, compileGlob, linesOf } from '../../core/api/index.ts';
import { exactParse } from './api.ts';
import { parseGs, type Storage } from './storage.ts';

const CHUNK = 256 * 1024;

/** Puts the row of the input beside its prediction, by a key: a job does not keep the order of its input. */
export class Joined {
  readonly #by: string;
  readonly #memory: number;
  readonly #urls: readonly string[];
  readonly #storage: Storage;
  #rows: Promise<ReadonlyMap<string, string>> | undefined;
  /** Predictions that belong to no row. */
  unmatched = 0;

  constructor(
    { by, memory }: { readonly by: string; readonly memory: number },
    urls: readonly string[],
    storage: Storage,
  ) {
    this.#by = by;
    this.#memory = memory;
    this.#urls = urls;
    this.#storage = storage;
  }

  /** The rows are read anew: another job had another input. */
  clear(): void {
    this.#rows = undefined;
    this.unmatched = 0;
  }

  /** Each line with its row, as it is in the input, as a new first member `row`. */
  async *stream(predictions: ByteStream, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    this.#rows ??= this.#index(signal).catch((error: unknown) => {
      // What failed in passing is tried anew.
      this.#rows = undefined;
      throw error;
    });
    const rows = await this.#rows;
    let text = '';
    for await (const line of linesOf(predictions, { name: 'predictions' })) {
      const row = rows.get(keyOf(exactParse(line.text), this.#by) ?? '');
      if (row === undefined) this.unmatched++;
      text += `{"row":${row ?? 'null'},${line.text.slice(1)}\n`;
      if (text.length < CHUNK) continue;
      yield Buffer.from(text);
      text = '';
    }
    if (text !== '') yield Buffer.from(text);
  }

  async #index(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const rows = new Map<string, string>();
    let bytes = 0;
    for (const url of this.#urls) {
      const { bucket, name } = parseGs(url);
      const staging = this.#storage.at(`gs://${bucket}/`);
      // Wildcards, as the job reads them. Source: https://cloud.google.com/storage/docs/wildcards
      const [fixed = ''] = name.split(/[*?[{]/, 1);
      const isMeant = fixed === name ? (rest: string) => rest === '' : compileGlob(name.slice(fixed.length));
      let found = false;
      for await (const item of staging.list(fixed, signal)) {
        if (!isMeant(item.key)) continue;
        found = true;
        for await (const { text } of linesOf(await staging.open(item, undefined, signal), { name: item.key })) {
          const key = keyOf(exactParse(text), this.#by);
          if (key === undefined)
            throw new BrokerError('invalid_config', `${url}: a row has no member "${this.#by}"`, {
              hint: 'Correct batch.join.by in the source.',
            });
          if (rows.has(key))
            throw new BrokerError('invalid_config', `${url}: several rows have the same "${this.#by}"`, {
              hint: 'Join by a member that tells rows apart.',
            });
          rows.set(key, text);
          bytes += key.length + text.length;
          if (bytes > this.#memory)
            throw new BrokerError('memory_too_small', `the input does not fit into batch.join.memory`, {
              hint: 'Raise batch.join.memory, or join after the copy.',
            });
        }
      }
      if (!found) throw new BrokerError('source_gone', `${url}: nothing is there any more`);
    }
    return rows;
  }
}

/** As rows and predictions have it: a member, one of `instance`, of `request`, or the `key` that the job was told of. */
function keyOf(value: unknown, by: string): string | undefined {
  const row = value as Readonly<Record<string, unknown>> | null;
  const places = [row?.[by], (row?.instance as typeof row)?.[by], (row?.request as typeof row)?.[by], row?.key];
  const found = places.find((one) => one !== undefined && one !== null);
  return found === undefined ? undefined : typeof found === 'string' ? found : JSON.stringify(found);
}
