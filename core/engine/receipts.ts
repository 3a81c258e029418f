import { BrokerError } from '../api/errors.ts';
import { linesOf } from '../api/lines.ts';
import type { Sink } from '../api/sink.ts';
import { chainHash } from './journal.ts';
import { RECEIPTS } from './ledger.ts';

/** A file of receipts, and what is wrong with it. */
export interface CheckedReceipts {
  readonly file: string;
  readonly lines: number;
  /** The hash that it goes on from; undefined for the first of a run. */
  readonly previous: string | undefined;
  /** The hash of its last line. */
  readonly head: string | undefined;
  /** For people; undefined when it is as it was written. */
  readonly broken: string | undefined;
}

const HASH = /,"hash":"([0-9a-f]{64})"\}$/;

/**
 * Reads receipts and computes their chain again: within each file, and from file to file.
 *
 * @param folder of the files, in the sink that they were written to.
 */
export async function* checkReceipts(sink: Sink, folder: string, signal: AbortSignal): AsyncGenerator<CheckedReceipts> {
  let run: { readonly name: string; readonly files: CheckedReceipts[] } | undefined;
  for await (const object of sink.list?.({ signal, ...(folder === '' ? {} : { after: folder }) }) ?? []) {
    if (!object.key.startsWith(folder)) break;
    if (!object.key.endsWith(RECEIPTS)) continue;
    const name = object.key.slice(0, object.key.lastIndexOf('/'));
    if (name !== run?.name) {
      yield* joined(run?.files ?? []);
      run = { name, files: [] };
    }
    const stream = await sink.read?.(object, { signal });
    if (stream === undefined) throw new BrokerError('invalid_config', `${sink.location} cannot be read`);
    run.files.push(await checkFile(object.key, stream));
  }
  yield* joined(run?.files ?? []);
}

/** The files of one run. Their names need not be in its order: clocks are set back. */
function* joined(files: readonly CheckedReceipts[]): Generator<CheckedReceipts> {
  const heads = new Set(files.map(({ head }) => head));
  for (const found of files)
    yield found.previous === undefined || heads.has(found.previous)
      ? found
      : { ...found, broken: found.broken ?? 'the file that it goes on from is missing or was changed' };
}

async function checkFile(file: string, stream: AsyncIterable<Uint8Array>): Promise<CheckedReceipts> {
  let head: string | undefined;
  let previous: string | undefined;
  let [lines, intents, ended] = [0, 0, false];
  const broken = (why: string): CheckedReceipts => ({ file, lines, previous, head, broken: why });
  for await (const { text, number } of linesOf(stream, { name: file })) {
    const told = HASH.exec(text)?.[1];
    const line = `${text.replace(HASH, '')}}`;
    if (told === undefined) return broken(`line ${number} has no hash`);
    let value: { readonly previous?: unknown; readonly end?: unknown; readonly intent?: unknown };
    try {
      value = JSON.parse(line) as typeof value;
    } catch {
      return broken(`line ${number} is not JSON`);
    }
    if (number === 1 && typeof value.previous === 'string') {
      previous = value.previous;
      head = previous;
    }
    if (chainHash(head, line) !== told)
      return broken(`line ${number}, or one before it, was changed, added or taken away`);
    head = told;
    ended = value.end === lines + intents && number > 1;
    if (value.intent !== undefined) intents++;
    else if (number > 1 && !ended) lines++;
  }
  return ended ? { file, lines, previous, head, broken: undefined } : broken('its end is missing');
}
