import type { Span } from '@opentelemetry/api';
import type { Observer } from '../engine/job.ts';
import type { Report } from '../engine/report.ts';
import type { Environment } from '../pipeline/interpolate.ts';

/** Spans of one run. */
export interface RunTrace {
  readonly observer: Observer;
  /** Ends the span of the run; without a report it failed before it could give one. */
  end(report: Report | undefined): void;
}

/** Begins to trace a run. */
export type Tracing = (pipeline: string) => RunTrace;

/**
 * Traces through the API of OpenTelemetry, where whoever runs the process has set it up: by a Lambda layer, or with
 * `node --import`. The API does nothing by itself, and is not even loaded unless a variable `OTEL_…` is set.
 *
 * Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export async function tracingFrom(environment: Environment): Promise<Tracing | undefined> {
  const on = Object.keys(environment).some((name) => name.startsWith('OTEL_'));
  if (!on || environment.OTEL_SDK_DISABLED === 'true' || environment.OTEL_TRACES_EXPORTER === 'none') return undefined;
  const { trace, context, SpanStatusCode } = await import('@opentelemetry/api');
  const tracer = trace.getTracer('isthmus');
  const failed = { code: SpanStatusCode.ERROR };
  return (pipeline) => {
    const span = tracer.startSpan('isthmus.run', { attributes: { 'isthmus.pipeline': pipeline } });
    const inside = trace.setSpan(context.active(), span);
    return {
      observer: {
        started: ({ runId, resumed }) =>
          void span.setAttributes({ 'isthmus.run_id': runId, 'isthmus.resumed': resumed }),
        receipt: ({ key, outcome, bytes, attempts, durationMs, failure }) => {
          // What moved nothing took no time, and there may be millions of it.
          if (outcome === 'unchanged') return;
          const ended = Date.now();
          const attributes = {
            'isthmus.key': key,
            'isthmus.outcome': outcome,
            'isthmus.bytes': bytes,
            'isthmus.attempts': attempts,
          };
          const transfer = tracer.startSpan('isthmus.transfer', { startTime: ended - durationMs, attributes }, inside);
          if (failure !== undefined) transfer.setStatus({ ...failed, message: failure.code });
          transfer.end(ended);
        },
      },
      end: (report) => endRun(span, report, failed.code),
    };
  };
}

function endRun(span: Span, report: Report | undefined, failed: number): void {
  const { outcome = 'failed', items, bytes = 0, error } = report ?? {};
  span.setAttributes({ 'isthmus.outcome': outcome, 'isthmus.bytes': bytes });
  for (const [name, count] of Object.entries(items ?? {})) span.setAttribute(`isthmus.items.${name}`, count);
  if (outcome === 'failed' || outcome === 'partial') span.setStatus({ code: failed, message: error?.code ?? outcome });
  span.end();
}
