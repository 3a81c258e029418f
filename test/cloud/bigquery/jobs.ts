import type { LocalTable } from './tables.ts';

export interface ErrorProto {
  readonly reason: string;
  readonly message: string;
}

/** What a job did when it is over. */
export interface Outcome {
  readonly statistics?: Readonly<Record<string, unknown>>;
  readonly error?: ErrorProto;
  /** Of a query. */
  readonly result?: LocalTable;
}

export interface LocalJob {
  readonly project: string;
  readonly id: string;
  readonly location: string;
  readonly configuration: Readonly<Record<string, unknown>>;
  readonly kind: 'EXTRACT' | 'QUERY';
  readonly principal: string;
  readonly created: number;
  /** How often it must be asked for before it is over. */
  asksLeft: number;
  /** Does the work; called once. */
  readonly work: () => Promise<Outcome>;
  working?: Promise<Outcome>;
  outcome: Outcome | undefined;
}

/** Ends a job whose time has come. */
export async function settle(job: LocalJob): Promise<Outcome | undefined> {
  if (job.outcome !== undefined || --job.asksLeft > 0) return job.outcome;
  job.working ??= job.work();
  const outcome = await job.working;
  // It may have been cancelled meanwhile.
  job.outcome ??= outcome;
  return job.outcome;
}

/** A job resource. Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job */
export function jobResource(job: LocalJob): Record<string, unknown> {
  const { project, id, location, configuration, kind, outcome, created } = job;
  const error = outcome?.error;
  const at = String(created);
  return {
    kind: 'bigquery#job',
    id: `${project}:${location}.${id}`,
    selfLink: `https://bigquery.googleapis.com/bigquery/v2/projects/${project}/jobs/${id}?location=${location}`,
    user_email: job.principal,
    jobReference: { projectId: project, jobId: id, location },
    configuration: { jobType: kind, ...configuration },
    status: {
      state: outcome === undefined ? 'RUNNING' : 'DONE',
      ...(error === undefined ? {} : { errorResult: error, errors: [error] }),
    },
    statistics: {
      creationTime: at,
      startTime: at,
      ...(outcome === undefined ? {} : { endTime: at }),
      ...outcome?.statistics,
    },
  };
}
