import { formatBytes, formatDuration } from '../api/text.ts';
import type { ItemLine } from './inputs.ts';
import { grouped, type Html, html } from './text.ts';

const WIDTH = 960;
const LEFT = 8;
/** More lanes than that are drawn as one band. */
const MOST_LANES = 24;
/** More bars than that show nothing. */
const MOST_BARS = 5000;
const COLUMNS = 120;

interface Span {
  readonly start: number;
  readonly end: number;
  readonly item: ItemLine;
}

/** When each item was carried: from its end back by how long it took. */
export function spansOf(items: readonly ItemLine[]): readonly Span[] {
  return items
    .map((item) => ({ item, end: Date.parse(item.time) }))
    .filter(({ end }) => !Number.isNaN(end))
    .map(({ item, end }) => ({ item, end, start: end - item.durationMs }))
    .sort((one, other) => one.start - other.start);
}

const scaleOf = (spans: readonly Span[]): { readonly begin: number; readonly end: number; x(at: number): number } => {
  const begin = Math.min(...spans.slice(0, 1).map(({ start }) => start));
  const end = spans.reduce((last, span) => Math.max(last, span.end), begin + 1);
  return { begin, end, x: (at) => LEFT + ((at - begin) / (end - begin)) * (WIDTH - 2 * LEFT) };
};

/** A bar for each item, in as many lanes as were carried at once. */
export function timeline(items: readonly ItemLine[]): Html | undefined {
  const spans = spansOf(items.filter(({ outcome }) => outcome === 'written' || outcome === 'failed'));
  if (spans.length === 0) return undefined;
  const drawn = [...spans].sort((one, other) => other.end - other.start - (one.end - one.start)).slice(0, MOST_BARS);
  drawn.sort((one, other) => one.start - other.start);
  const { begin, end, x } = scaleOf(spans);
  const lanes: number[] = [];
  const bars = drawn.map(({ start, end: over, item }) => {
    let lane = lanes.findIndex((free) => free <= start);
    if (lane < 0) lane = lanes.length < MOST_LANES ? lanes.length : MOST_LANES - 1;
    lanes[lane] = over;
    const width = Math.max(1, x(over) - x(start));
    const title = `${item.key}: ${item.outcome}, ${formatBytes(item.bytes)} in ${formatDuration(item.durationMs)}`;
    const kind = item.outcome === 'failed' ? 'bad' : item.attempts > 1 ? 'again' : 'good';
    return html`<rect class="${kind}" x="${x(start).toFixed(1)}" y="${4 + lane * 14}" width="${width.toFixed(1)}" height="11" rx="2"><title>${title}</title></rect>`;
  });
  const height = 4 + lanes.length * 14 + 22;
  const left = spans.length - drawn.length;
  return html`<figure><svg role="img" aria-label="Timeline of ${grouped(spans.length)} items" viewBox="0 0 ${WIDTH} ${height}">
${bars}${axis(begin, end, height)}</svg>
<figcaption>A bar for each item that was carried, over the time it took${left > 0 ? `; the ${grouped(left)} shortest are not drawn` : ''}. <span class="key good"></span> written <span class="key again"></span> written after another try <span class="key bad"></span> failed</figcaption></figure>`;
}

function axis(begin: number, end: number, height: number): Html {
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = LEFT + share * (WIDTH - 2 * LEFT);
    const anchor = share === 0 ? 'start' : share === 1 ? 'end' : 'middle';
    return html`<text x="${at.toFixed(1)}" y="${height - 5}" text-anchor="${anchor}">${formatDuration(share * (end - begin))}</text>`;
  });
  return html`<line class="axis" x1="${LEFT}" x2="${WIDTH - LEFT}" y1="${height - 18}" y2="${height - 18}"/>${marks}`;
}

/** Bytes a second over time; those of an item are spread evenly over the time it took. */
export function throughput(items: readonly ItemLine[]): Html | undefined {
  const spans = spansOf(items.filter(({ outcome, bytes }) => outcome === 'written' && bytes > 0));
  if (spans.length === 0) return undefined;
  const { begin, end } = scaleOf(spans);
  const step = (end - begin) / COLUMNS;
  const columns = new Array<number>(COLUMNS).fill(0);
  for (const { start, end: over, item } of spans) {
    const [first, last] = [start, over].map((at) =>
      Math.min(COLUMNS - 1, Math.max(0, Math.floor((at - begin) / step))),
    );
    const share = item.bytes / ((last ?? 0) - (first ?? 0) + 1);
    for (let column = first ?? 0; column <= (last ?? 0); column++) columns[column] = (columns[column] ?? 0) + share;
  }
  const rates = columns.map((bytes) => (bytes / step) * 1000);
  const most = Math.max(...rates, 1);
  const height = 140;
  const points = rates.map((rate, column) => {
    const x = LEFT + ((column + 0.5) / COLUMNS) * (WIDTH - 2 * LEFT);
    return `${x.toFixed(1)},${(height - 22 - (rate / most) * (height - 40)).toFixed(1)}`;
  });
  const base = height - 22;
  const area = `${LEFT},${base} ${points.join(' ')} ${WIDTH - LEFT},${base}`;
  return html`<figure><svg role="img" aria-label="Throughput over time, at most ${formatBytes(Math.round(most))} a second" viewBox="0 0 ${WIDTH} ${height}">
<polygon class="area" points="${area}"/><polyline class="line" points="${points.join(' ')}"/><text x="${LEFT}" y="12">${formatBytes(Math.round(most))}/s</text>${axis(begin, end, height)}</svg>
<figcaption>Bytes a second that were written.</figcaption></figure>`;
}

/** How many items there are of each size, by powers of four. */
export function sizes(items: readonly ItemLine[]): Html | undefined {
  const written = items.filter(({ outcome }) => outcome === 'written');
  if (written.length === 0) return undefined;
  const bucketOf = (bytes: number): number => (bytes === 0 ? 0 : Math.floor(Math.log2(bytes) / 2) + 1);
  const counts = new Map<number, { count: number; bytes: number }>();
  for (const { bytes } of written) {
    const bucket = counts.get(bucketOf(bytes)) ?? { count: 0, bytes: 0 };
    bucket.count++;
    bucket.bytes += bytes;
    counts.set(bucketOf(bytes), bucket);
  }
  const [least, last] = [Math.min(...counts.keys()), Math.max(...counts.keys())];
  const most = Math.max(...[...counts.values()].map(({ count }) => count));
  const rows = Array.from({ length: last - least + 1 }, (_, index) => least + index).map((bucket) => {
    const { count, bytes } = counts.get(bucket) ?? { count: 0, bytes: 0 };
    const name = bucket === 0 ? 'empty' : `below ${formatBytes(4 ** bucket)}`;
    return html`<tr><th scope="row">${name}</th><td class="number">${grouped(count)}</td><td class="number">${formatBytes(bytes)}</td><td class="wide"><div class="bar" style="width:${((count / most) * 100).toFixed(1)}%"></div></td></tr>`;
  });
  return html`<table><caption>Sizes of the items that were written</caption><thead><tr><th scope="col">size</th><th scope="col" class="number">items</th><th scope="col" class="number">bytes</th><th scope="col"></th></tr></thead><tbody>${rows}</tbody></table>`;
}
