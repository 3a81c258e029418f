import { formatBytes, formatDuration, visible } from '../api/text.ts';
import type { Detail, Report } from '../engine/report.ts';
import { partOf } from '../runtime/answer.ts';

/** Where a command writes: results to `out`, everything else to `err`. */
export interface Output {
  out(line: string): void;
  err(line: string): void;
  readonly terminal: NodeJS.WriteStream | undefined;
}

export { EXIT } from '../runtime/exit.ts';

const MOST_FAILURES = 20;

const HEADLINE = {
  complete: 'complete',
  partial: 'PARTIAL: some items were not carried over',
  failed: 'FAILED',
  paused: 'paused: run again to go on',
} as const;

/** A report for people. */
export function summary(report: Report): string[] {
  const { items, failures } = report;
  const counts = Object.entries(items).filter(([name, count]) => count > 0 || name === 'written');
  if (report.moved !== undefined) counts.push(['deleted in the source', report.moved]);
  const rate =
    report.durationMs > 0 && report.bytes > 0
      ? ` (${formatBytes(Math.round((report.bytes / report.durationMs) * 1000))}/s)`
      : '';
  const lines = [
    `${visible(report.pipeline)}${partOf(report)}: ${HEADLINE[report.outcome]}`,
    `  ${counts.map(([name, count]) => `${count} ${name}`).join(', ')}; ${formatBytes(report.bytes)} in ${formatDuration(report.durationMs)}${rate}`,
  ];
  for (const failure of failures.slice(0, MOST_FAILURES)) {
    lines.push(`  ${visible(failure.key)}${failure.sink === undefined ? '' : ` → ${visible(failure.sink)}`}`);
    lines.push(`    ${failure.code}: ${failure.message}`, `    ${failure.hint}`);
  }
  const more = failures.length - MOST_FAILURES + (report.failuresOmitted ?? 0);
  if (more > 0) lines.push(`  … and ${more} more; --json lists up to 1000, --log json all of them`);
  lines.push(...detailLines(report.details));
  if (report.error !== undefined) {
    const { code, message, hint, id } = report.error;
    lines.push(`  ${id ?? code}: ${message}`, `    ${hint}`);
    if (id !== undefined) lines.push('    isthmus doctor PIPELINE walks the whole chain');
  }
  return lines;
}

/** What sources tell besides items, a line for each fact. */
export function detailLines(details: readonly Detail[] | undefined): string[] {
  return (details ?? []).flatMap(({ source, facts }) => [
    `  ${visible(source)}`,
    ...Object.entries(facts).map(([name, value]) => {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      return `    ${name}: ${visible(text)}`;
    }),
  ]);
}

/** A table with columns as wide as they need; the last one is not padded. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
