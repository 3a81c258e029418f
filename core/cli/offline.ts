import type { Receipt } from '../engine/receipt.ts';
import type { Report } from '../engine/report.ts';

/** What a sink holds after a run. Plain data, in key order. */
export interface Stored {
  readonly place: string;
  readonly key: string;
  readonly size: number;
  /** Base64. */
  readonly crc32c: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A run of a pipeline against the local cloud. */
export interface OfflineRun {
  readonly report: Report;
  readonly receipts: readonly Receipt[];
}

/** A pipeline with the cloud of this machine around it, and its fixtures in that. */
export interface Offline extends AsyncDisposable {
  /** What whoever tests should know of it. */
  readonly notes: readonly string[];
  /** Steps that make other bytes each time. */
  readonly once: ReadonlySet<string>;
  run(): Promise<OfflineRun>;
  stored(): Promise<readonly Stored[]>;
}

/**
 * Opens a pipeline for a test: no network, no account.
 *
 * @param fixtures the folder with `source/`, `sink/`, `cloud.json`. @throws BrokerError for what cannot be tested so.
 */
export type OpenOffline = (file: string, fixtures: string) => Promise<Offline>;
