import { ERROR_CODES } from '../api/error-codes.ts';
import type { Deployment, Distribution } from './deployment.ts';

/** In the definition: filled in by SAM and Terraform. */
const FUNCTION = '$\u007bFunctionArn}';
const PARTITION = '$\u007bPartition}';
/** The history of an execution holds 25,000 events; an inline Map runs so many of its iterations at once. */
const LISTS_AT_ONCE = 40;
/** Beyond what the function itself is given. */
const GRACE_SECONDS = 60;

/**
 * What AWS itself answers when there is too much of something, and what the function calls passing: tried again with full
 * jitter, so that thousands of children do not come back at once.
 */
const PASSING = {
  ErrorEquals: [
    'Lambda.ServiceException',
    'Lambda.AWSLambdaException',
    'Lambda.SdkClientException',
    'Lambda.ClientExecutionTimeoutException',
    ...Object.entries(ERROR_CODES)
      .filter(([code, { next }]) => next === 'retry' && code !== 'busy')
      .map(([code]) => `Isthmus.${code}`),
  ],
  IntervalSeconds: 2,
  BackoffRate: 2,
  MaxAttempts: 8,
  MaxDelaySeconds: 120,
  JitterStrategy: 'FULL',
};

/** No environment is free: those that are may take as long as an invocation lasts. */
const THROTTLED = {
  ErrorEquals: ['Lambda.TooManyRequestsException'],
  IntervalSeconds: 5,
  BackoffRate: 1.5,
  MaxAttempts: 40,
  MaxDelaySeconds: 120,
  JitterStrategy: 'FULL',
};

/** A function that was killed: what it held counts as free after half a minute, until then its next try is told `busy`. */
const KILLED = {
  ErrorEquals: [
    'Runtime.ExitError',
    'Runtime.OutOfMemory',
    'Sandbox.Timedout',
    'Lambda.Unknown',
    'States.Timeout',
    'Isthmus.busy',
    'Isthmus.stopped',
    'Isthmus.state_conflict',
  ],
  IntervalSeconds: 15,
  BackoffRate: 2,
  MaxAttempts: 4,
};

/** A name may be used again: the time tells two of them apart. */
const EXECUTION = { 'execution.$': '$$.Execution.Id', 'started.$': '$$.Execution.StartTime' };

type State = Readonly<Record<string, unknown>>;

/**
 * A definition in the Amazon States Language: plan, transfer and finish of one pipeline, by one function.
 *
 * Source: https://states-language.net and
 * https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
 */
export function stateMachine(deployment: Deployment, distribution: Distribution): object {
  const { pipeline, deploy } = deployment;
  const ask = (phase: string, event: State, result: State, more: State): State => ({
    Type: 'Task',
    Resource: `arn:${PARTITION}:states:::lambda:invoke`,
    Parameters: { FunctionName: FUNCTION, Payload: { distributed: { phase, ...event } } },
    ResultSelector: result,
    TimeoutSeconds: Math.floor(deploy.timeout / 1000) + GRACE_SECONDS,
    Retry: [THROTTLED, PASSING, KILLED],
    ...more,
  });
  const run = { 'run.$': '$.plan.run', 'attempt.$': '$.plan.attempt' };
  const fails = { Catch: [{ ErrorEquals: ['States.ALL'], ResultPath: '$.failure', Next: 'Finish' }] };
  const whole = { 'answer.$': '$.Payload' };
  return {
    Comment: `Isthmus pipeline ${pipeline}, spread over many invocations of one function. Start it with {}; with {"again": true} it carries what the last run has not.`,
    StartAt: 'Begin',
    States: {
      Begin: { Type: 'Pass', Result: { plan: {}, failure: null }, Next: 'Plan' },
      Plan: ask('plan', { ...EXECUTION, 'input.$': '$$.Execution.Input' }, whole, {
        Comment: 'Puts the run on record, and cuts the listing into ranges of keys by looking into it.',
        ResultPath: '$.planned',
        ...fails,
        Next: 'Planned?',
      }),
      'Planned?': {
        Type: 'Choice',
        Choices: [
          { Variable: '$.planned.answer.outcome', StringEquals: 'ignored', Next: 'Another is under way' },
          { Variable: '$.planned.answer.outcome', StringEquals: 'paused', Next: 'Plan' },
        ],
        Default: 'Keep the plan',
      },
      'Another is under way': { Type: 'Succeed', InputPath: '$.planned.answer' },
      'Keep the plan': { Type: 'Pass', InputPath: '$.planned.answer', ResultPath: '$.plan', Next: 'List' },
      List: {
        Type: 'Map',
        Comment: 'Each range is listed and compared, and what is to be done is written as shards.',
        ItemsPath: '$.plan.ranges',
        MaxConcurrency: Math.min(LISTS_AT_ONCE, distribution.shares.maxConcurrency),
        ItemSelector: { ...run, 'range.$': '$$.Map.Item.Value' },
        ItemProcessor: {
          ProcessorConfig: { Mode: 'INLINE' },
          StartAt: 'List a range',
          States: {
            'List a range': ask(
              'list',
              { 'run.$': '$.run', 'attempt.$': '$.attempt', 'range.$': '$.range' },
              { 'outcome.$': '$.Payload.outcome', 'waitSeconds.$': '$.Payload.waitSeconds' },
              { ResultPath: '$.listed', Next: 'Listed?' },
            ),
            'Listed?': {
              Type: 'Choice',
              Choices: [{ Variable: '$.listed.outcome', StringEquals: 'paused', Next: 'Wait for the source' }],
              Default: 'Listed',
            },
            'Wait for the source': {
              Type: 'Wait',
              Comment: 'A job of the source may still run; a listing longer than one invocation goes on at once.',
              SecondsPath: '$.listed.waitSeconds',
              Next: 'List a range',
            },
            Listed: { Type: 'Pass', Result: {}, End: true },
          },
        },
        ResultPath: null,
        ...fails,
        Next: 'Gather',
      },
      Gather: ask('gather', run, whole, {
        Comment: 'One line for each shard: the manifest.',
        ResultPath: '$.gathered',
        ...fails,
        Next: 'Anything to do?',
      }),
      'Anything to do?': {
        Type: 'Choice',
        Choices: [
          { Variable: '$.gathered.answer.outcome', StringEquals: 'paused', Next: 'Gather' },
          { Variable: '$.gathered.answer.shards', NumericEquals: 0, Next: 'Finish' },
        ],
        Default: 'Transfer',
      },
      Transfer: transferState(distribution, ask, fails),
      Finish: ask('finish', { ...EXECUTION, 'plan.$': '$.plan', 'failure.$': '$.failure' }, whole, {
        Comment:
          'Holds what the children told against the plan, completes, deletes, reports. Fails unless all is well.',
        ResultPath: '$.finished',
        Next: 'Finished?',
      }),
      'Finished?': {
        Type: 'Choice',
        Choices: [{ Variable: '$.finished.answer.outcome', StringEquals: 'paused', Next: 'Finish' }],
        Default: 'Report',
      },
      Report: { Type: 'Pass', InputPath: '$.finished.answer', End: true },
    },
  };
}

function transferState(
  { bucket, folder, shares }: Distribution,
  ask: (phase: string, event: State, result: State, more: State) => State,
  fails: State,
): State {
  return {
    Type: 'Map',
    Comment: `As many children at once as it takes to make ${shares.requestsPerSecond} writes in a second, at most ${shares.maxConcurrency}: S3 takes 3,500 for a prefix at first, an account runs 1,000 Lambdas if it has not asked for more, Google exchanges 6,000 tokens a minute.`,
    Label: 'Transfer',
    MaxConcurrencyPath: '$.gathered.answer.concurrency',
    ToleratedFailurePercentagePath: '$.gathered.answer.toleratedPercent',
    ItemReader: {
      Resource: `arn:${PARTITION}:states:::s3:getObject`,
      ReaderConfig: { InputType: 'JSONL' },
      Parameters: { 'Bucket.$': '$.plan.manifest.bucket', 'Key.$': '$.plan.manifest.key' },
    },
    // A line is a shard, cut to what one child should carry; what all of them are told comes with it.
    ItemBatcher: {
      MaxItemsPerBatch: 1,
      BatchInput: {
        'run.$': '$.plan.run',
        'attempt.$': '$.plan.attempt',
        'concurrency.$': '$.gathered.answer.concurrency',
        carried: { outcome: 'begun', done: -1 },
      },
    },
    ItemProcessor: {
      ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' },
      StartAt: 'Carry',
      States: {
        Carry: ask(
          'transfer',
          {
            'run.$': '$.BatchInput.run',
            'attempt.$': '$.BatchInput.attempt',
            'concurrency.$': '$.BatchInput.concurrency',
            'before.$': '$.BatchInput.carried.done',
            'retry.$': '$$.State.RetryCount',
            'shards.$': '$.Items',
          },
          {
            'outcome.$': '$.Payload.outcome',
            'done.$': '$.Payload.done',
            'items.$': '$.Payload.items',
            'bytes.$': '$.Payload.bytes',
          },
          { ResultPath: '$.BatchInput.carried', Next: 'Carried?' },
        ),
        'Carried?': {
          Type: 'Choice',
          Choices: [{ Variable: '$.BatchInput.carried.outcome', StringEquals: 'paused', Next: 'Carry' }],
          Default: 'Carried',
        },
        Carried: { Type: 'Pass', InputPath: '$.BatchInput.carried', End: true },
      },
    },
    ResultWriter: {
      Resource: `arn:${PARTITION}:states:::s3:putObject`,
      Parameters: { Bucket: bucket, Prefix: `${folder}results` },
    },
    ResultPath: '$.transferred',
    ...fails,
    Next: 'Finish',
  };
}
