import {
  BrokerError,
  type ByteStream,
  type Check,
  checked,
  compareKeys,
  type Facts,
  type Item,
  type ListOptions,
  type PluginContext,
  type Purpose,
  type Source,
  streamOf,
  z,
} from '../../core/api/index.ts';
import { refSchema } from '../google/storage/object.ts';
import { hashOf } from './batch-notes.ts';
import { folderAt } from './folder.ts';
import type { Generating } from './generate.ts';
import { Kept } from './kept.ts';
import { Ledger } from './ledger.ts';
import { mimeType } from './mime-type.ts';
import type { Mode } from './mode.ts';
import type { Storage } from './storage.ts';
import { filled } from './template.ts';

const fileSchema = z.strictObject({ url: z.string(), type: z.string(), object: refSchema });
/** They are sorted in memory: `a.json` comes after `a-b.json`, though `a` comes before `a-b`. */
const MOST_FILES = 200_000;

/** Every object below a prefix goes to the model with the prompt; each answer is a file beside its name. */
export class FilesMode implements Mode {
  readonly location: string;
  readonly #asking: Generating;
  readonly #files: string;
  readonly #storage: Storage;
  readonly #ledger: Ledger;
  readonly #what: string;
  /** A second sink, and a write that is tried again, get the answer that is there. */
  #answers = new Kept<string>();
  #runId = '';
  #facts: Facts | undefined;

  constructor(asking: Generating, files: string, storage: Storage, context: PluginContext) {
    this.location = `${asking.location} over ${files}`;
    this.#asking = asking;
    this.#files = files;
    this.#storage = storage;
    this.#what = hashOf([asking.what, files]);
    this.#ledger = new Ledger(this.#what, asking.options, context);
  }

  async *list({ after, only, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey' || only !== undefined) return;
    if (this.#runId !== run.runId) this.#answers = new Kept();
    this.#runId = run.runId;
    if (run.purpose === 'run') await this.#ledger.begin(run, undefined, after !== undefined, signal);
    else await this.#ledger.look(run, signal);
    const items = await this.#items(run.purpose, signal);
    if (run.purpose === 'plan') this.#facts = { model: this.#asking.location, files: items.length };
    for (const item of items) if (after === undefined || compareKeys(item.key, after) > 0) yield item;
  }

  async open(item: Item, { signal }: Parameters<Source['open']>[1]): Promise<ByteStream> {
    return streamOf(await this.#answers.of(item.id, () => this.#ask(item, signal)));
  }

  async #ask(item: Item, signal: AbortSignal): Promise<Uint8Array> {
    const { url, type, object } = fileSchema.parse(item.ref);
    const prompt = filled(this.#asking.options.prompt, { file: url }, JSON.stringify(url));
    const parts = [{ fileData: { fileUri: url, mimeType: mimeType(url, type) } }, { text: prompt }];
    try {
      const answer = await this.#asking.answer(parts, this.#ledger, signal);
      if (typeof answer === 'string') {
        const hint = 'Mend the file or the prompt, or leave the file out.';
        throw new BrokerError('answer_refused', `${url}: ${answer}`, { hint });
      }
      // The model reads a URL, which names no generation.
      const now = await this.#storage.at(url).one(signal);
      if (now === undefined || refSchema.parse(now.ref).generation !== object.generation)
        throw new BrokerError('source_changed', `${url} was replaced while the model read it`);
      return Buffer.from(`{"file":${JSON.stringify(url)},${this.#asking.described(answer)}}\n`);
    } finally {
      await this.#ledger.record().catch(() => undefined);
    }
  }

  /** With `onlyNew` the next run asks for what was changed after the newest of this one. */
  async finish({ outcome }: Parameters<NonNullable<Source['finish']>>[0]): Promise<void> {
    const { notes } = this.#ledger;
    if (outcome !== 'complete' || notes.upTo === undefined || !this.#ledger.hasBegun) return;
    notes.seen = notes.upTo;
    await this.#ledger.record();
  }

  facts(): Facts | undefined {
    return this.#facts ?? (this.#ledger.hasBegun ? { ...this.#ledger.notes.spent } : undefined);
  }

  async check(signal: AbortSignal): Promise<readonly Check[]> {
    return [
      await checked('model', () => this.#asking.check(signal)),
      await checked('files', async () => {
        for await (const { id } of this.#storage.at(this.#files).list('', signal)) return id;
        return `${this.#files}: nothing there`;
      }),
    ];
  }

  async close(): Promise<void> {
    await this.#ledger.settled();
  }

  async #items(purpose: Purpose, signal: AbortSignal): Promise<Item[]> {
    const { folder = '', onlyNew } = this.#asking.options;
    const { seen = '', upTo, startedAt } = this.#ledger.notes;
    const items: Item[] = [];
    let newest = seen;
    for await (const { id, key, headers, ref, modifiedAt = '' } of this.#storage.at(this.#files).list('', signal)) {
      if (key === '' || key.endsWith('/')) continue;
      if (onlyNew && modifiedAt <= seen) continue;
      // What comes while a run pauses may sort before what it has carried: it is the next one's.
      if (onlyNew && upTo !== undefined && modifiedAt > upTo) continue;
      if (modifiedAt > newest) newest = modifiedAt;
      const url = id.slice(0, id.lastIndexOf('#'));
      items.push({
        id: `vertexai:${this.#what}:${id}`,
        key: `${folderAt(folder, startedAt)}${key}.json`,
        headers: { contentType: 'application/json' },
        ref: { url, type: headers?.contentType ?? '', object: refSchema.parse(ref) },
      });
      if (items.length > MOST_FILES)
        throw new BrokerError('invalid_config', `${this.#files} holds more than ${MOST_FILES} files`, {
          hint: 'Name a longer prefix, and make several pipelines.',
        });
    }
    if (onlyNew && purpose === 'run' && upTo === undefined) {
      this.#ledger.notes.upTo = newest;
      await this.#ledger.record();
    }
    return items.sort((a, b) => compareKeys(a.key, b.key));
  }
}
