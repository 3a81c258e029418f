import type { Report } from '../engine/report.ts';

/** What one run adds to the metrics. */
export interface Figures {
  readonly pipeline: string;
  readonly outcome: Report['outcome'];
  readonly items: Report['items'];
  readonly bytes: number;
  readonly seconds: number;
  readonly retries: number;
  /** Tokens that had to be fetched since the figures before. */
  readonly tokenRefreshes: number;
  /** From the change of an object to its copy, where a notification brought it. */
  readonly lagSeconds: number | undefined;
}

/** Where figures go: CloudWatch, Prometheus, or nowhere. */
export type Meter = (figures: Figures) => void;

/** Of all metrics in CloudWatch, and their only dimension: the name of the pipeline. */
export const NAMESPACE = 'Isthmus';
export const DIMENSION = 'service';
