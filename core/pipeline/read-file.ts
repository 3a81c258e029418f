import { isUtf8 } from 'node:buffer';
import { open, stat } from 'node:fs/promises';
import { systemErrorCode } from '../api/errors.ts';
import { formatBytes } from '../api/text.ts';
import { InvalidPipeline } from './problem.ts';

const MAX_BYTES = 1024 * 1024;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'is a directory: name a file in it',
  ENAMETOOLONG: 'the name is too long',
};

/** Why a file cannot be used, for people. */
export function fileReason(error: unknown): string {
  const code = systemErrorCode(error);
  return (code && (REASONS[code] ?? code)) ?? 'it cannot be read';
}

/** Reads a pipeline file as UTF-8 text, or says what is wrong with it. A byte order mark is left out. */
export async function readPipelineFile(path: string): Promise<string> {
  const fail = (message: string): never => {
    throw new InvalidPipeline(path, [{ message }]);
  };
  try {
    // Looked at before it is opened: a pipe without a writer would be waited for.
    const stats = await stat(path);
    if (stats.isDirectory()) return fail('is a directory: name the pipeline file in it');
    if (!stats.isFile()) return fail('not a regular file');
    if (stats.size > MAX_BYTES)
      return fail(`${formatBytes(stats.size)}: pipelines are limited to ${formatBytes(MAX_BYTES)}`);
    await using file = await open(path, 'r');
    return decode(await file.readFile(), fail);
  } catch (error) {
    const reason = REASONS[systemErrorCode(error) ?? ''];
    if (reason === undefined) throw error;
    return fail(reason);
  }
}

function decode(bytes: Buffer, fail: (message: string) => never): string {
  if (bytes.length > MAX_BYTES) return fail(`pipelines are limited to ${formatBytes(MAX_BYTES)}`);
  const mark = bytes.subarray(0, 2).toString('hex');
  if (mark === 'fffe' || mark === 'feff') return fail('looks like UTF-16: save as UTF-8');
  const text = bytes.toString('utf8');
  if (!isUtf8(bytes)) return fail(`byte ${firstBad(bytes, text) + 1} is not valid UTF-8`);
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Where the first byte is that is not UTF-8. The character that stands for it may also be there by right. */
function firstBad(bytes: Buffer, text: string): number {
  for (let at = text.indexOf('\ufffd'); at >= 0; at = text.indexOf('\ufffd', at + 1)) {
    const offset = Buffer.byteLength(text.slice(0, at));
    if (bytes.subarray(offset, offset + 3).toString('hex') !== 'efbfbd') return offset;
  }
  return 0;
}
