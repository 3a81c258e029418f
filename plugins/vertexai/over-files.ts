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
  type Source,
  streamOf,
  z,
} from '../../core/api/index.ts';
import { refSchema } from '../google/storage/listing.ts';
import { hashOf } from './batch-notes.ts';
import type { Generating } from './generate.ts';
import { Ledger } from './ledger.ts';
import type { Mode } from './mode.ts';
import type { Storage } from './storage.ts';
import { filled } from './template.ts';

const fileSchema = z.strictObject({ url: z.string(), type: z.string(), object: refSchema });

/** Every object below a prefix goes to the model with the prompt; each answer is a file beside its name. */
export class FilesMode implements Mode {
  readonly location: string;
  readonly #asking: Generating;
  readonly #files: string;
  readonly #storage: Storage;
  readonly #ledger: Ledger;
  readonly #what: string;
  #facts: Facts | undefined;

  constructor(asking: Generating, files: string, storage: Storage, context: PluginContext) {
    this.location = `${asking.location} over ${files}`;
    this.#asking = asking;
    this.#files = files;
    this.#storage = storage;
    this.#what = hashOf([asking.what, files]);
    this.#ledger = new Ledger(this.#what, asking.options, context);
  }

  async *list({ after, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey') return;
    if (run.purpose === 'run') await this.#ledger.begin(run, signal);
    let files = 0;
    for await (const { id, key, headers, ref } of this.#storage.at(this.#files).list('', signal)) {
      if (key === '' || key.endsWith('/')) continue;
      files++;
      const file = {
        url: id.slice(0, id.lastIndexOf('#')),
        type: headers?.contentType ?? '',
        object: refSchema.parse(ref),
      };
      const item = {
        id: `vertexai:${this.#what}:${id}`,
        key: `${key}.json`,
        headers: { contentType: 'application/json' },
        ref: file,
      };
      if (after === undefined || compareKeys(item.key, after) > 0) yield item;
    }
    if (run.purpose === 'plan') this.#facts = { model: this.#asking.location, files };
  }

  async open(item: Item, { signal }: Parameters<Source['open']>[1]): Promise<ByteStream> {
    const { url, type } = fileSchema.parse(item.ref);
    const prompt = filled(this.#asking.options.prompt, { file: url }, JSON.stringify(url));
    const parts = [{ fileData: { fileUri: url, mimeType: type || mimeType(url) } }, { text: prompt }];
    try {
      const answer = await this.#asking.ask(parts, this.#ledger, signal);
      if (typeof answer === 'string')
        throw new BrokerError('answer_refused', `${url}: ${answer}`, {
          hint: 'Mend the file or the prompt, or leave the file out.',
        });
      return streamOf(Buffer.from(`{"file":${JSON.stringify(url)},${this.#asking.described(answer)}}\n`));
    } finally {
      await this.#ledger.record(signal);
    }
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
}

const TYPES: Readonly<Record<string, string>> = {
  pdf: 'application/pdf',
  txt: 'text/plain',
  md: 'text/plain',
  html: 'text/html',
  csv: 'text/csv',
  json: 'application/json',
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  mp3: 'audio/mpeg',
  wav: 'audio/wav',
  mp4: 'video/mp4',
};

/** Where Cloud Storage does not know. */
const mimeType = (url: string): string =>
  TYPES[/\.(\w+)$/.exec(url)?.[1]?.toLowerCase() ?? ''] ?? 'application/octet-stream';
