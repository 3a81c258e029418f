import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Meter } from '../figures.ts';
import type { Gate } from './gate.ts';

export interface Prometheus {
  readonly meter: Meter;
  readonly contentType: string;
  text(): Promise<string>;
  /** Shows how full the gate is. */
  watch(gate: Gate): void;
}

/** Source: https://prometheus.io/docs/practices/naming/ */
export function prometheus(): Prometheus {
  const registry = new Registry();
  const registers = [registry];
  const pipeline = ['pipeline'] as const;
  const counter = (name: string, help: string, labelNames: readonly string[] = pipeline): Counter =>
    new Counter({ name: `isthmus_${name}_total`, help, labelNames: [...labelNames], registers });
  const histogram = (name: string, help: string, buckets: number[]): Histogram =>
    new Histogram({ name: `isthmus_${name}_seconds`, help, labelNames: [...pipeline], buckets, registers });
  const runs = counter('runs', 'Runs by outcome.', ['pipeline', 'outcome']);
  const objects = counter('objects', 'Objects by outcome.', ['pipeline', 'outcome']);
  const bytes = counter('written_bytes', 'Bytes written.');
  const retries = counter('retries', 'Transfers that were tried again.');
  const refreshes = counter('token_refreshes', 'Tokens fetched from Google.');
  const seconds = histogram('run', 'How long runs took.', [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900]);
  const lag = histogram('lag', 'From the change of an object to its copy.', [0.5, 1, 2.5, 5, 15, 60, 300, 3600]);
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    watch: (gate) => {
      const gauge = (name: string, help: string, read: () => number): void =>
        void new Gauge({
          name: `isthmus_${name}`,
          help,
          registers,
          collect() {
            this.set(read());
          },
        });
      gauge('under_way', 'Pushes that are being carried.', () => gate.inside);
      gauge('waiting', 'Pushes that wait for their turn.', () => gate.waiting);
    },
    meter: (figures) => {
      const labels = { pipeline: figures.pipeline };
      runs.inc({ ...labels, outcome: figures.outcome });
      for (const [outcome, count] of Object.entries(figures.items))
        if (count > 0) objects.inc({ ...labels, outcome }, count);
      bytes.inc(labels, figures.bytes);
      retries.inc(labels, figures.retries);
      refreshes.inc(labels, figures.tokenRefreshes);
      seconds.observe(labels, figures.seconds);
      if (figures.lagSeconds !== undefined) lag.observe(labels, figures.lagSeconds);
    },
  };
}
