import { BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import { spreadSeconds } from '../distributed/concurrency.ts';
import { type DeploySpec, sharesOf } from '../pipeline/deploy-spec.ts';
import { variablesIn } from '../pipeline/interpolate.ts';
import { intervalHours, readSchedule } from '../pipeline/schedule.ts';
import type { Pipeline, PipelineData } from '../pipeline/validate.ts';
import { DIMENSION, NAMESPACE } from '../runtime/figures.ts';
import { type AwsGrant, type AwsPlace, ownRoleName, type RoleSetup, setupOf } from '../setup/model.ts';
import { shortName } from '../setup/names.ts';

/** What the files for a deployment are made of. */
export interface Deployment {
  readonly pipeline: string;
  readonly deploy: DeploySpec;
  /** Of the function, log group, queue and alarms. */
  readonly name: string;
  readonly role: RoleSetup;
  /** What the pipeline itself needs of AWS, as its plugins declare it. */
  readonly grants: readonly AwsGrant[];
  /** What its variables are set to where it was packaged. */
  readonly variables: Readonly<Record<string, string>>;
  /** Those that the platform sets itself. */
  readonly setByPlatform: readonly string[];
  /** Files that hold a token for the pod, with the audience that it is for. */
  readonly podTokens: readonly { readonly file: string; readonly audience: string }[];
  readonly pushed: boolean;
  /** How often it is looked whether a run is paused; undefined where none waits for anything. */
  readonly tick: string | undefined;
  /** After how many hours without a complete run to raise the alarm. */
  readonly silenceHours: number | undefined;
  readonly region: string | undefined;
  /** How it is spread over many invocations; undefined for one that carries a run by itself. */
  readonly distribution: Distribution | undefined;
}

/** What a state machine needs besides the function. */
export interface Distribution {
  readonly bucket: string;
  /** Below it lies what the parts of its runs tell each other. */
  readonly folder: string;
  readonly shares: DeploySpec['distributed'];
}

/** @throws BrokerError `invalid_config` where Step Functions could not read what a run keeps. */
export function distributionOf({ name, state, deploy }: Pipeline): Distribution {
  const place = state?.plugin.inBucket?.(state.config);
  if (place === undefined)
    throw new BrokerError(
      'invalid_config',
      'Step Functions reads the manifests of a distributed run beside its `state`, in Amazon S3',
      {
        hint:
          state?.plugin.name === 's3'
            ? 'Leave out state.with.endpoint: no other server is read.'
            : 'Set state: { use: s3, with: { bucket: … } }.',
      },
    );
  return { bucket: place.bucket, folder: `${place.prefix}distributed/${name}/`, shares: sharesOf(deploy) };
}

/**
 * What Lambda sets itself, and lets nobody else set.
 * Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
 */
const OF_LAMBDA =
  /^(?:_HANDLER|_X_AMZN_TRACE_ID|AWS_(?:DEFAULT_)?REGION|AWS_EXECUTION_ENV|AWS_LAMBDA_\w+|LAMBDA_TASK_ROOT|LAMBDA_RUNTIME_DIR)$/;

const HOUR_MS = 3_600_000;

export function deploymentOf(
  pipeline: Pipeline,
  written: PipelineData,
  environment: Readonly<Record<string, string | undefined>>,
  place: AwsPlace,
  distribution?: Distribution,
): Deployment {
  const setup = setupOf([pipeline], { place, ownRole: true });
  const { name, deploy } = pipeline;
  const isSetByPlatform = (variable: string): boolean => place === 'lambda' && OF_LAMBDA.test(variable);
  const given = variablesIn(written.data).flatMap((variable): [string, string][] => {
    const value = environment[variable];
    return value === undefined || value === '' ? [] : [[variable, value]];
  });
  const own = setup.roles.find(({ trust }) => trust.by === 'place') ?? bareRole(name, place);
  return {
    pipeline: name,
    deploy,
    name: shortName(`isthmus-${name}`, 64),
    role: own,
    grants: own.policies.flatMap(({ grants }) => grants),
    variables: Object.fromEntries([
      ...given.filter(([variable]) => !isSetByPlatform(variable)),
      ...(spreadSeconds(distribution?.shares.maxConcurrency ?? 0) > 0 ? [['ISTHMUS_WARM_UP', 'off'] as const] : []),
    ]),
    setByPlatform: given.map(([variable]) => variable).filter(isSetByPlatform),
    podTokens: Object.values(pipeline.identities).flatMap((identity) =>
      identity.kind === 'gcp' && identity.from === 'kubernetes-token' && identity.tokenFile !== undefined
        ? [{ file: identity.tokenFile, audience: `https:${identity.audience ?? ''}` }]
        : [],
    ),
    pushed: pipeline.push !== undefined,
    // A state machine waits by itself.
    tick: distribution === undefined && waits(pipeline) ? TICK : undefined,
    silenceHours: silenceOf(deploy),
    distribution,
    region: pipeline.sinks.map(({ written: sink }) => regionIn(sink)).find((one) => one !== undefined),
  };
}

/** Looking costs a few milliseconds; a job that is over waits no longer than this. */
const TICK = 'rate(5 minutes)';
/** What a tick sends. */
export const TICK_EVENT = '{"resume":"paused"}';

/** A run that waits for a job is gone on with only where its state is found again. */
export const waits = ({ sources, state }: Pick<Pipeline, 'sources' | 'state'>): boolean =>
  state?.plugin.lasts === 'anywhere' && sources.some(({ plugin }) => plugin.waits === true);

/** A function has a role even when its pipeline asks nothing of AWS. */
const bareRole = (pipeline: string, place: AwsPlace): RoleSetup => {
  const role = ownRoleName(pipeline);
  return {
    account: '',
    role,
    arn: `arn:aws:iam::000000000000:role/${role}`,
    policies: [],
    trust: { by: 'place', place },
  };
};

const regionIn = (written: JsonValue): string | undefined => {
  const { with: options } = written as { readonly with?: { readonly region?: unknown } };
  return typeof options?.region === 'string' ? options.region : undefined;
};

/** CloudWatch looks back no further than a week. */
const MOST_HOURS = 168;

/** Two intervals of the schedule, if nothing else is said: one late run is no alarm. */
export function silenceOf({ silence, schedule }: DeploySpec): number | undefined {
  if (silence !== undefined) return Math.ceil(silence / HOUR_MS);
  const read = schedule === undefined ? undefined : readSchedule(schedule, () => {});
  if (read === undefined) return undefined;
  const hours = Math.max(1, Math.ceil(2 * intervalHours(read)));
  return hours <= MOST_HOURS ? hours : undefined;
}

/** What the platform itself needs of the role, apart from the pipeline. */
export const PLATFORM_ACTIONS = {
  logs: ['logs:CreateLogStream', 'logs:PutLogEvents'],
  deadLetters: ['sqs:SendMessage'],
  again: ['lambda:InvokeFunction'],
  /** A long manifest is an upload of several parts. */
  files: ['s3:AbortMultipartUpload'],
  /** Whether the execution before is still under way. */
  executions: ['states:DescribeExecution'],
} as const;

export interface Alarm {
  readonly id: string;
  readonly what: string;
  readonly namespace: string;
  readonly metric: string;
  readonly dimension: 'FunctionName' | 'QueueName' | 'StateMachineArn' | typeof DIMENSION;
  readonly statistic: 'Sum' | 'Maximum';
  readonly periodSeconds: number;
  readonly periods: number;
  readonly comparison: 'GreaterThanOrEqualToThreshold' | 'LessThanThreshold';
  readonly missing: 'notBreaching' | 'breaching';
}

/** Of the state machine itself, and not of its children. */
const EXECUTION_METRICS = ['ExecutionsFailed', 'ExecutionsTimedOut', 'ExecutionsAborted'] as const;

/** When somebody should be told: something failed, something was given up, or nothing happens at all. */
export function alarmsOf({ silenceHours, distribution }: Deployment): readonly Alarm[] {
  const any = {
    periodSeconds: 300,
    periods: 1,
    comparison: 'GreaterThanOrEqualToThreshold',
    missing: 'notBreaching',
  } as const;
  return [
    // Of thousands of invocations some may fail, and are tried again: then it is the execution that counts.
    ...(distribution === undefined
      ? [
          {
            ...any,
            id: 'FailedInvocations',
            what: 'an invocation failed',
            namespace: 'AWS/Lambda',
            metric: 'Errors',
            dimension: 'FunctionName',
            statistic: 'Sum',
          } as const,
        ]
      : EXECUTION_METRICS.map(
          (metric) =>
            ({
              ...any,
              id: metric,
              what: `an execution of the state machine ended badly (${metric})`,
              namespace: 'AWS/States',
              metric,
              dimension: 'StateMachineArn',
              statistic: 'Sum',
            }) as const,
        )),
    {
      ...any,
      id: 'FailedRuns',
      what: 'a run failed or was partial, also where the invocation answered: queues and pushes',
      namespace: NAMESPACE,
      metric: 'RunsFailed',
      dimension: DIMENSION,
      statistic: 'Sum',
    },
    {
      ...any,
      id: 'DeadLetters',
      what: 'an event was given up and lies in the dead letter queue',
      namespace: 'AWS/SQS',
      metric: 'ApproximateNumberOfMessagesVisible',
      dimension: 'QueueName',
      statistic: 'Maximum',
    },
    ...(silenceHours === undefined
      ? []
      : [
          {
            id: 'Silence',
            what: `no run was complete for ${silenceHours} h`,
            namespace: NAMESPACE,
            metric: 'RunsComplete',
            dimension: DIMENSION,
            statistic: 'Sum',
            periodSeconds: 3600,
            periods: silenceHours,
            comparison: 'LessThanThreshold',
            missing: 'breaching',
          } as const,
        ]),
  ];
}
