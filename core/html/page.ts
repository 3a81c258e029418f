import { formatBytes, formatDuration } from '../api/text.ts';
import type { Pipeline } from '../pipeline/validate.ts';
import { chain } from './chain.ts';
import { sizes, throughput, timeline } from './charts.ts';
import type { Inputs, ItemLine, RunReport } from './inputs.ts';
import { STYLE } from './style.ts';
import { grouped, Html, html } from './text.ts';

const HEADLINE = {
  complete: 'complete',
  partial: 'partial: some items were not carried over',
  failed: 'failed',
  paused: 'paused: run again to go on',
} as const;
const MOST_ROWS = 200;
const SLOWEST = 10;

/** One page about one run or several: no script, nothing from elsewhere. @param made when, RFC 3339. */
export function reportPage(inputs: Inputs, pipeline: Pipeline | undefined, made: string): string {
  const { runs, items, findings, itemsOmitted } = inputs;
  const latest = runs.at(-1);
  const name = latest?.pipeline ?? pipeline?.name ?? 'run';
  const ofLatest = latest === undefined ? items : itemsOf(latest, items, runs.length);
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${name}: report of Isthmus</title><style>${new Html(STYLE)}</style></head><body><main>
<h1>${name}</h1>
${latest === undefined ? undefined : summary(latest)}
${runs.length > 1 ? history(runs) : undefined}
${latest === undefined ? undefined : failures(latest)}
${section('When', [timeline(ofLatest), throughput(ofLatest)])}
${section('What', [sizes(ofLatest), slowest(ofLatest)])}
${ofLatest.length === 0 ? html`<p class="quiet">A timeline needs the lines of the items: name the log too (<code>isthmus run pipeline.yaml --json --log json &gt; run.json 2&gt; run.log</code>), or the receipts.</p>` : undefined}
${itemsOmitted > 0 ? html`<p class="quiet">${grouped(itemsOmitted)} more items are not drawn.</p>` : undefined}
${latest === undefined ? undefined : details(latest)}
${pipeline === undefined ? undefined : chain(pipeline, findings)}
<footer>Made by Isthmus, ${made}</footer>
</main></body></html>`;
  return `${page.text}\n`;
}

/** Lines of the log name their run; those of receipts need not. */
function itemsOf({ runId }: RunReport, items: readonly ItemLine[], runs: number): readonly ItemLine[] {
  const own = items.filter((item) => item.runId === runId);
  return own.length > 0 || runs > 1 ? own : items;
}

const section = (title: string, parts: readonly (Html | undefined)[]): Html | undefined => {
  const there = parts.filter((part) => part !== undefined);
  return there.length === 0 ? undefined : html`<section><h2>${title}</h2>${there}</section>`;
};

function summary(run: RunReport): Html {
  const { outcome, items, bytes, durationMs, error, runId, endedAt } = run;
  const rate = durationMs > 0 ? `${formatBytes(Math.round((bytes / durationMs) * 1000))}/s` : '';
  const counts = Object.entries(items).filter(([name, count]) => count > 0 || name === 'written');
  const tiles = [
    ...counts.map(([name, count]) => html`<div class="tile ${name}"><b>${grouped(count)}</b>${name}</div>`),
    html`<div class="tile"><b>${formatBytes(bytes)}</b>written</div>`,
    html`<div class="tile"><b>${formatDuration(durationMs)}</b>${rate}</div>`,
  ];
  const ended =
    error === undefined
      ? undefined
      : html`<div class="failure"><p><code>${error.id ?? error.code}</code> ${error.message}</p><p><strong>Fix:</strong> ${error.hint}</p></div>`;
  return html`<p><span class="badge ${outcome}">${HEADLINE[outcome]}</span> <span class="quiet">run ${runId}${endedAt === undefined ? '' : `, ended ${endedAt}`}</span></p><div class="tiles">${tiles}</div>${ended}`;
}

function history(runs: readonly RunReport[]): Html {
  const rows = [...runs]
    .reverse()
    .slice(0, MOST_ROWS)
    .map(({ outcome, items, bytes, durationMs, endedAt = '', runId }) => {
      const counts = Object.entries(items).filter(([, count]) => count > 0);
      const shown = counts.map(([name, count]) => `${grouped(count)} ${name}`).join(', ');
      return html`<tr><td>${endedAt}</td><td><span class="badge ${outcome}">${outcome}</span></td><td>${shown}</td><td class="number">${formatBytes(bytes)}</td><td class="number">${formatDuration(durationMs)}</td><td><code>${runId.slice(0, 8)}</code></td></tr>`;
    });
  return html`<section><h2>Runs</h2><table><caption>The last ${runs.length}, the newest first</caption><thead><tr><th scope="col">ended</th><th scope="col">outcome</th><th scope="col">items</th><th scope="col" class="number">bytes</th><th scope="col" class="number">took</th><th scope="col">run</th></tr></thead><tbody>${rows}</tbody></table></section>`;
}

/** What failed, with its fix: those that have one in common stand together. */
function failures({ failures: all, failuresOmitted = 0 }: RunReport): Html | undefined {
  if (all.length === 0) return undefined;
  const byCode = Map.groupBy(all, ({ code, id, hint }) => `${id ?? code}\n${hint}`);
  const groups = [...byCode].map(([group, of]) => {
    const [code = '', hint = ''] = group.split('\n');
    const rows = of
      .slice(0, MOST_ROWS)
      .map(
        ({ key, sink, message }) =>
          html`<tr><th scope="row">${key}${sink === undefined ? '' : ` → ${sink}`}</th><td>${message}</td></tr>`,
      );
    const more = of.length - MOST_ROWS;
    return html`<div class="failure"><p><code>${code}</code> ${grouped(of.length)} ${of.length === 1 ? 'item' : 'items'}</p><p><strong>Fix:</strong> ${hint}</p><table><tbody>${rows}</tbody></table>${more > 0 ? html`<p>… and ${grouped(more)} more</p>` : undefined}</div>`;
  });
  return html`<section><h2>What failed</h2>${groups}${failuresOmitted > 0 ? html`<p>${grouped(failuresOmitted)} more are in the log.</p>` : undefined}</section>`;
}

function slowest(items: readonly ItemLine[]): Html | undefined {
  const found = [...items]
    .filter(({ outcome }) => outcome === 'written')
    .sort((one, other) => other.durationMs - one.durationMs)
    .slice(0, SLOWEST);
  if (found.length === 0) return undefined;
  const rows = found.map(
    ({ key, bytes, durationMs, attempts }) =>
      html`<tr><th scope="row">${key}</th><td class="number">${formatBytes(bytes)}</td><td class="number">${formatDuration(durationMs)}</td><td class="number">${attempts}</td></tr>`,
  );
  return html`<table><caption>Those that took longest</caption><thead><tr><th scope="col">key</th><th scope="col" class="number">bytes</th><th scope="col" class="number">took</th><th scope="col" class="number">tries</th></tr></thead><tbody>${rows}</tbody></table>`;
}

/** What there is to tell besides items: what could not be carried exactly, what sources tell, where the receipts are. */
function details({ notes = {}, details: told = [], receipts }: RunReport): Html | undefined {
  const rows = [
    ...Object.entries(notes).map(([note, count]) => [`${note}`, `${grouped(count)} items`] as const),
    ...told.flatMap(({ source, facts }) =>
      Object.entries(facts).map(
        ([name, value]) => [`${source}: ${name}`, typeof value === 'string' ? value : JSON.stringify(value)] as const,
      ),
    ),
    ...(receipts === undefined
      ? []
      : [
          [
            'receipts',
            `${grouped(receipts.lines)} lines in ${receipts.location}, the last one ${receipts.head ?? ''}`,
          ] as const,
        ]),
  ];
  if (rows.length === 0) return undefined;
  const shown = rows.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`);
  return html`<section><h2>Besides</h2><table><tbody>${shown}</tbody></table></section>`;
}
