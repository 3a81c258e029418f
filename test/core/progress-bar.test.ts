import { PassThrough } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { progressBar, progressLines } from '../../core/runtime/progress.ts';

const GIB = 2 ** 30;
const ESC = '\u001b';

/** A terminal, and the lines that were drawn on it. */
function terminal(columns: number) {
  let text = '';
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns });
  stream.on('data', (chunk) => {
    text += String(chunk);
  });
  return {
    stream: stream as unknown as NodeJS.WriteStream,
    text: () => text,
    lines: () =>
      text
        .split(`${ESC}[1G`)
        .map((line) => stripVTControlCharacters(line).trimEnd())
        .filter((line) => line.includes('|')),
  };
}

describe('progress', () => {
  beforeEach(
    () => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] }),
  );
  afterEach(() => void vi.useRealTimers());

  it.each([40, 80, 120])('on a terminal of %i columns is a line that fits, without a colour', async (columns) => {
    const { stream, lines, text } = terminal(columns);
    const bar = progressBar(stream, Date.now);
    bar.total(999 * GIB, 123_456, true);
    for (let n = 0; n < 40; n++) {
      bar.observer.bytes?.(24.9 * GIB);
      await vi.advanceTimersByTimeAsync(1000);
    }
    bar[Symbol.dispose]();
    expect(lines().length).toBeGreaterThan(5);
    for (const line of lines()) expect(line.length, line).toBeLessThanOrEqual(columns);
    expect(lines().at(-1)).toContain('99% | 0 of 123456 items | 996.0 GiB');
    // Neither NO_COLOR nor a log must undo what is not done.
    expect(
      text()
        .split(ESC)
        .filter((part) => /^\[[\d;]*m/.test(part)),
    ).toEqual([]);
  });

  it('is not full while there may be more to come', async () => {
    const { stream, lines } = terminal(80);
    const bar = progressBar(stream, Date.now);
    for (let n = 0; n < 10; n++) {
      bar.observer.bytes?.(GIB);
      await vi.advanceTimersByTimeAsync(1000);
    }
    const before = lines().length;
    expect(lines().join('\n')).not.toMatch(/[1-9]%/);
    bar.total(10 * GIB, 1, true);
    await vi.advanceTimersByTimeAsync(1000);
    bar[Symbol.dispose]();
    expect(lines().slice(before).join('\n')).toContain('100%');
  });

  it('in a log is a plain line now and then, none for a short run, and none after its end', async () => {
    const lines: string[] = [];
    {
      using told = progressLines((line) => lines.push(line), Date.now);
      told.observer.bytes?.(5 * GIB);
      await vi.advanceTimersByTimeAsync(9000);
      expect(lines).toEqual([]);
      told.observer.receipt?.({} as never, {} as never);
      await vi.advanceTimersByTimeAsync(1000);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(lines).toEqual(['1 items, 5 GiB, 512 MiB/s', '1 items, 5 GiB, 0 B/s']);
    }
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lines).toHaveLength(2);
  });
});
