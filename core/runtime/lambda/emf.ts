import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import { type Figures, type Meter, NAMESPACE } from '../figures.ts';

/**
 * Writes figures as one log line in the embedded metric format, which CloudWatch turns into metrics: no request, no
 * permission, and nothing to wait for.
 *
 * Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export function emfMeter(write: (line: string) => void, requestId?: () => string | undefined): Meter {
  return (figures) => {
    // The one dimension that the library always sets, so the one that alarms look at.
    const metrics = new Metrics({ namespace: NAMESPACE, serviceName: figures.pipeline });
    for (const [name, unit, value] of metricsOf(figures)) metrics.addMetric(name, unit, value);
    const id = requestId?.();
    if (id !== undefined) metrics.addMetadata('requestId', id);
    // Written by ourselves: the library would go through the console, which Lambda puts a prefix before.
    write(JSON.stringify(metrics.serializeMetrics()));
  };
}

type Unit = (typeof MetricUnit)[keyof typeof MetricUnit];

function metricsOf(figures: Figures): readonly (readonly [string, Unit, number])[] {
  const { outcome, items, bytes, seconds, retries, tokenRefreshes, lagSeconds } = figures;
  const { Count, Bytes, Seconds } = MetricUnit;
  return [
    ['RunsComplete', Count, Number(outcome === 'complete')],
    ['RunsFailed', Count, Number(outcome === 'failed' || outcome === 'partial')],
    ['RunsPaused', Count, Number(outcome === 'paused')],
    ['ObjectsWritten', Count, items.written],
    ['ObjectsUnchanged', Count, items.unchanged],
    ['ObjectsFailed', Count, items.failed + items.refused],
    ['BytesWritten', Bytes, bytes],
    ['RunSeconds', Seconds, seconds],
    ['Retries', Count, retries],
    ['TokenRefreshes', Count, tokenRefreshes],
    ...(lagSeconds === undefined ? [] : [['LagSeconds', Seconds, lagSeconds] as const]),
  ];
}
