import type { NextStep } from '../api/error-codes.ts';
import { ERROR_CODES } from '../api/error-codes.ts';
import { formatBytes, visible } from '../api/text.ts';
import type { Receipt } from '../engine/receipt.ts';
import type { Failure, Report } from '../engine/report.ts';

/** An answer is read by people and has limits of size; the log has a line for every failure. */
const MOST_FAILURES = 50;

/** What a caller passes back to go on; the whole answer may be passed back as it is. */
export interface ResumeToken {
  readonly runId: string;
  /** How often the run went on. */
  readonly hop: number;
  /** Items and bytes so far: a run that goes on without getting any further is ended. */
  readonly done: number;
  readonly object?: string;
  readonly prefix?: string;
}

/** What an invocation, a push and Step Functions get. `ignored`: it was none of this pipeline, or done already. */
export interface Answer {
  readonly outcome: Report['outcome'] | 'ignored';
  /** One sentence. */
  readonly message: string;
  readonly pipeline: string;
  readonly runId?: string;
  readonly part?: Report['part'];
  readonly items?: Report['items'];
  readonly bytes?: number;
  /** Of items that are not whole yet, and need not be sent again. */
  readonly unfinishedBytes?: number;
  readonly durationMs?: number;
  readonly used?: Report['used'];
  readonly failures?: readonly Failure[];
  readonly failuresOmitted?: number;
  readonly error?: Report['error'];
  /** What to do about the failure that decided the outcome. */
  readonly next?: NextStep;
  /** Of a single object, in the words of the functions that people wrote by hand. */
  readonly source?: string;
  readonly destination?: string | readonly string[];
  readonly bytes_transferred?: number;
  readonly resume?: ResumeToken;
  /** What the sources tell besides items. */
  readonly details?: Report['details'];
  /** The function has called itself to go on. */
  readonly continued?: true;
}

/** The one object that a run was about, as it went. */
export interface Single {
  readonly source: string;
  readonly receipts: readonly Receipt[];
  readonly destinations: readonly string[];
}

export function answerOf(report: Report, single: Single | undefined): Answer {
  const { pipeline, runId, outcome, items, bytes, durationMs, error } = report;
  const failures = report.failures.slice(0, MOST_FAILURES);
  const omitted = report.failures.length - failures.length + (report.failuresOmitted ?? 0);
  const next = nextOf(report);
  return {
    outcome,
    message: single === undefined ? summaryOf(report) : sentenceOf(report, single),
    ...(single === undefined
      ? {}
      : {
          source: single.source,
          destination: single.destinations.length === 1 ? (single.destinations[0] ?? '') : single.destinations,
          bytes_transferred: bytes,
        }),
    pipeline,
    runId,
    items,
    bytes,
    durationMs,
    ...(failures.length === 0 ? {} : { failures }),
    ...(omitted === 0 ? {} : { failuresOmitted: omitted }),
    ...(report.part === undefined ? {} : { part: report.part }),
    ...(error === undefined ? {} : { error }),
    ...(next === undefined ? {} : { next }),
    ...(report.details === undefined ? {} : { details: report.details }),
    ...(report.used === undefined ? {} : { used: report.used }),
    ...(report.unfinishedBytes === undefined ? {} : { unfinishedBytes: report.unfinishedBytes }),
  };
}

/** Trying again helps only if it helps every failure. */
function nextOf({ error, failures, outcome }: Report): NextStep | undefined {
  if (outcome === 'complete') return undefined;
  if (error !== undefined) return ERROR_CODES[error.code].next;
  const steps = failures.map(({ code }) => ERROR_CODES[code].next);
  return steps.every((step) => step === 'retry') ? 'retry' : 'item';
}

const HEADLINE = { complete: 'complete', partial: 'PARTIAL', failed: 'FAILED', paused: 'paused' } as const;

/** Which part of a plan it was, for people. */
export const partOf = ({ part }: { readonly part?: Report['part'] | undefined }): string =>
  part === undefined ? '' : `, part ${part.index} of ${part.of}`;

export function summaryOf({ pipeline, part, outcome, items, bytes, error, failures }: Report): string {
  const counts = Object.entries(items).filter(([name, count]) => count > 0 || name === 'written');
  const told = counts.map(([name, count]) => `${count} ${name}`).join(', ');
  const [first] = failures;
  const why =
    error === undefined
      ? first && `; ${visible(first.key)}: ${first.code}: ${first.message}`
      : `; ${error.id ?? error.code}: ${error.message}`;
  return `${pipeline}${partOf({ part })}: ${HEADLINE[outcome]}: ${told}; ${formatBytes(bytes)}${why ?? ''}`;
}

function sentenceOf(report: Report, { source, receipts, destinations }: Single): string {
  const [receipt] = receipts;
  const failure = report.error ?? receipts.find((one) => one.failure !== undefined)?.failure;
  const [from, to] = [visible(source), visible(destinations.join(' and '))];
  if (failure !== undefined) return `${from} was not carried: ${failure.code}: ${failure.message}`;
  if (receipt === undefined) return `${from} does not exist, or the pipeline does not select it`;
  const written = receipts.filter(({ outcome }) => outcome === 'written');
  if (written.length === 0) return `${from} is already at ${to}, unchanged`;
  const confirmed = written.every(({ checksums = {} }) => Object.keys(checksums).length > 0);
  const proof = confirmed ? 'verified by its checksum' : 'proved by its size only';
  return `${from} was carried to ${to}: ${formatBytes(written[0]?.bytes ?? 0)}, ${proof}`;
}
