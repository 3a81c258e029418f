import { SingleBar } from 'cli-progress';
import { formatBytes, formatDuration } from '../api/text.ts';
import type { Observer } from '../engine/job.ts';

/** The rate is that of the last seconds, so that it follows what is happening now. */
const WINDOW_MS = 10_000;

export interface ProgressBar extends Disposable {
  readonly observer: Observer;
  /** Told of what a listing beside the run has counted so far. */
  total(bytes: number, items: number, complete: boolean): void;
}

/** Columns of the bar itself: as many as what stands beside it leaves, so that a line is never longer than the terminal. */
const BAR = { least: 6, most: 40 };
/** In a log a line now and then says that it goes on; a run that is over before then says nothing. */
const LINE_EVERY_MS = 10_000;

/** Plain lines for where there is no terminal: `1200 items, 1.2 GiB, 40 MiB/s`. Nothing is written once it is disposed. */
export function progressLines(write: (line: string) => void, now: () => number): ProgressBar {
  let [bytes, items, before] = [0, 0, 0];
  let at = now();
  const timer = setInterval(() => {
    const rate = ((bytes - before) / Math.max(1, now() - at)) * 1000;
    write(`${items} items, ${formatBytes(bytes)}, ${formatBytes(Math.max(0, Math.round(rate)))}/s`);
    [before, at] = [bytes, now()];
  }, LINE_EVERY_MS);
  timer.unref();
  return {
    observer: {
      bytes: (count) => {
        bytes += count;
      },
      receipt: () => {
        items++;
      },
    },
    total: () => {},
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** A progress bar with rate and remaining time on a terminal. Nothing is drawn once it is disposed. */
export function progressBar(stream: NodeJS.WriteStream, now: () => number): ProgressBar {
  // It only shrinks: a bar that is now longer, now shorter is hard to read.
  let room: number = BAR.most;
  const bar = new SingleBar({
    stream,
    format: (_, { progress }, told) => {
      const columns = (stream.columns ?? 80) - 1;
      const beside = besideBar(progress, told as Told);
      room = Math.min(room, columns - beside.length - 2);
      return `${room < BAR.least ? '' : ` ${blocks(progress, room)} `}${beside}`.slice(0, columns);
    },
    hideCursor: true,
    clearOnComplete: true,
    noTTYOutput: false,
    etaBuffer: 10,
    fps: 8,
  });
  let bytes = 0;
  let items = 0;
  let known = { bytes: 0, items: 0, complete: false };
  const samples: { at: number; bytes: number }[] = [{ at: now(), bytes: 0 }];
  const draw = (): void => {
    const at = now();
    while (samples.length > 1 && at - (samples[0]?.at ?? at) > WINDOW_MS) samples.shift();
    if (at - (samples.at(-1)?.at ?? 0) > 250) samples.push({ at, bytes });
    const oldest = samples[0] ?? { at, bytes };
    const rate = ((bytes - oldest.bytes) / Math.max(1, at - oldest.at)) * 1000;
    const remaining = known.bytes - bytes;
    const left = known.complete && rate > 0 ? formatDuration((remaining / rate) * 1000) : 'counting';
    // Of a part that nobody knows yet nothing is done: the bar must not be full while there is more to come.
    bar.setTotal(known.complete ? Math.max(1, known.bytes, bytes) : Number.MAX_SAFE_INTEGER);
    bar.update(bytes, {
      items: `${items}${known.complete ? ` of ${known.items}` : ''} items`,
      done: formatBytes(bytes),
      size: known.complete ? formatBytes(known.bytes) : '…',
      rate: formatBytes(Math.round(rate)),
      left,
    } satisfies Told);
  };
  bar.start(1, 0, { items: '0 items', done: '0 B', size: '…', rate: '0 B', left: 'counting' } satisfies Told);
  return {
    observer: {
      bytes: (count) => {
        bytes += count;
        draw();
      },
      receipt: (receipt, action) => {
        items++;
        if (receipt.outcome !== 'written') bytes += action.item.size ?? 0;
        draw();
      },
    },
    total: (totalBytes, totalItems, complete) => {
      known = { bytes: totalBytes, items: totalItems, complete };
      draw();
    },
    [Symbol.dispose]: () => bar.stop(),
  };
}

interface Told {
  readonly items: string;
  readonly done: string;
  readonly size: string;
  readonly rate: string;
  readonly left: string;
}

const besideBar = (progress: number, { items, done, size, rate, left }: Told): string =>
  `${Math.floor(progress * 100)}% | ${items} | ${done} of ${size} | ${rate}/s | ${left}`;

const blocks = (progress: number, room: number): string => {
  const full = Math.round(progress * room);
  return '█'.repeat(full) + '░'.repeat(room - full);
};
