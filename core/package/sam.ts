import { stringify } from 'yaml';
import { DIMENSION } from '../runtime/figures.ts';
import { policyStatement } from '../setup/shell.ts';
import { trustOf } from '../setup/trust.ts';
import { type Alarm, alarmsOf, type Deployment, PLATFORM_ACTIONS } from './deployment.ts';

const ref = (name: string) => ({ Ref: name });
const attribute = (resource: string, name: string) => ({ 'Fn::GetAtt': [resource, name] });

/**
 * An AWS SAM template of the function and all that belongs to it.
 *
 * Source: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification.html
 */
export function samTemplate(deployment: Deployment): string {
  const { pipeline, name, deploy, pushed } = deployment;
  const template = {
    AWSTemplateFormatVersion: '2010-09-09',
    Transform: 'AWS::Serverless-2016-10-31',
    Description: `Isthmus pipeline ${pipeline}`,
    Parameters: parameters(deployment),
    Conditions: { HasAlarmTopic: { 'Fn::Not': [{ 'Fn::Equals': [ref('AlarmTopicArn'), ''] }] } },
    Resources: {
      Function: lambdaFunction(deployment),
      Role: role(deployment),
      LogGroup: {
        Type: 'AWS::Logs::LogGroup',
        DeletionPolicy: 'Retain',
        UpdateReplacePolicy: 'Retain',
        Properties: { LogGroupName: `/aws/lambda/${name}`, RetentionInDays: deploy.logRetentionDays },
      },
      DeadLetterQueue: {
        Type: 'AWS::SQS::Queue',
        DeletionPolicy: 'Retain',
        UpdateReplacePolicy: 'Retain',
        Properties: {
          QueueName: `${name}-dead-letters`,
          MessageRetentionPeriod: 1_209_600,
          SqsManagedSseEnabled: true,
        },
      },
      ...Object.fromEntries(alarmsOf(deployment).map((one) => [`${one.id}Alarm`, alarm(one, deployment)])),
    },
    Outputs: {
      FunctionArn: { Value: attribute('Function', 'Arn') },
      RoleArn: { Value: attribute('Role', 'Arn') },
      ...(pushed ? { PushUrl: { Value: attribute('FunctionUrl', 'FunctionUrl') } } : {}),
    },
  };
  // YAML 1.1, as AWS reads it: what it would take for a date or a boolean is quoted.
  const yaml = stringify(template, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false });
  return `${HEAD}\n${commented(yaml, COMMENTS)}`;
}

const HEAD = `# Made by \`isthmus package\`; yours from here on: an edited file is not overwritten.
#   sam deploy --guided
# The function's zip lies beside this file; the Google side is made by \`isthmus auth setup\`.`;

const COMMENTS: Readonly<Record<string, string>> = {
  Function: 'The pipeline. A paused run, a deadline, a kill: the next invocation goes on where it stopped.',
  Role: 'What the pipeline and its platform need, and nothing else.',
  LogGroup: 'One JSON line an event, and the metrics.',
  DeadLetterQueue: 'Events that failed three times.',
  FailedInvocationsAlarm: 'Tell somebody.',
};

/** Comments stand above the keys of the second level. */
const commented = (yaml: string, comments: Readonly<Record<string, string>>): string =>
  yaml.replace(/^ {2}(\w+):$/gm, (line, key: string) =>
    comments[key] === undefined ? line : `  # ${comments[key]}\n${line}`,
  );

/** A parameter has a name of letters and digits; `Z` stands for the line, so that no two names become one. */
const parameterName = (variable: string): string => `Variable${variable.replaceAll('Z', 'ZZ').replaceAll('_', 'Z')}`;

function parameters({ variables }: Deployment): object {
  const own = Object.entries(variables).map(([variable, value]) => [
    parameterName(variable),
    { Type: 'String', Default: value, Description: `The variable ${variable} of the pipeline.` },
  ]);
  return {
    AlarmTopicArn: { Type: 'String', Default: '', Description: 'An SNS topic that is told of alarms.' },
    ...Object.fromEntries(own),
  };
}

function lambdaFunction({ name, deploy, variables, pushed }: Deployment): object {
  const { timeout, memorySize, architecture, schedule } = deploy;
  const environment = Object.keys(variables).map((variable) => [variable, ref(parameterName(variable))]);
  return {
    Type: 'AWS::Serverless::Function',
    Properties: {
      FunctionName: name,
      CodeUri: 'function.zip',
      Handler: 'index.handler',
      Runtime: 'nodejs24.x',
      Architectures: [architecture],
      MemorySize: memorySize,
      Timeout: Math.floor(timeout / 1000),
      Role: attribute('Role', 'Arn'),
      LoggingConfig: { LogGroup: ref('LogGroup') },
      DeadLetterQueue: { Type: 'SQS', TargetArn: attribute('DeadLetterQueue', 'Arn') },
      EventInvokeConfig: { MaximumRetryAttempts: 2 },
      ...(environment.length === 0 ? {} : { Environment: { Variables: Object.fromEntries(environment) } }),
      // Every push is verified by the function itself: its token, audience and sender.
      ...(pushed ? { FunctionUrlConfig: { AuthType: 'NONE' } } : {}),
      ...(schedule === undefined
        ? {}
        : { Events: { Schedule: { Type: 'Schedule', Properties: { Schedule: schedule, Enabled: true } } } }),
    },
  };
}

function role(deployment: Deployment): object {
  const { role: setup, grants, name, deploy } = deployment;
  const { principal, actions } = trustOf(setup);
  const again = `arn:\${AWS::Partition}:lambda:\${AWS::Region}:\${AWS::AccountId}:function:${name}`;
  const path = /:role(\/(?:.*\/)?)[^/]+$/.exec(setup.arn)?.[1] ?? '/';
  return {
    Type: 'AWS::IAM::Role',
    Properties: {
      RoleName: setup.role,
      ...(path === '/' ? {} : { Path: path }),
      AssumeRolePolicyDocument: {
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Principal: { Service: [...principal.ids] }, Action: [...actions] }],
      },
      Policies: [
        ...(grants.length === 0
          ? []
          : [
              {
                PolicyName: name,
                PolicyDocument: { Version: '2012-10-17', Statement: grants.map(policyStatement) },
              },
            ]),
        {
          PolicyName: `${name}-platform`,
          PolicyDocument: {
            Version: '2012-10-17',
            Statement: [
              { Effect: 'Allow', Action: [...PLATFORM_ACTIONS.logs], Resource: [attribute('LogGroup', 'Arn')] },
              {
                Effect: 'Allow',
                Action: [...PLATFORM_ACTIONS.deadLetters],
                Resource: [attribute('DeadLetterQueue', 'Arn')],
              },
              ...(deploy.continue === 'self'
                ? [{ Effect: 'Allow', Action: [...PLATFORM_ACTIONS.again], Resource: [{ 'Fn::Sub': again }] }]
                : []),
            ],
          },
        },
      ],
    },
  };
}

function alarm(one: Alarm, { name, pipeline }: Deployment): object {
  const values = { FunctionName: name, QueueName: attribute('DeadLetterQueue', 'QueueName'), [DIMENSION]: pipeline };
  const value = values[one.dimension];
  return {
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      AlarmName: `${name}-${one.id}`,
      AlarmDescription: `${pipeline}: ${one.what}`,
      Namespace: one.namespace,
      MetricName: one.metric,
      Dimensions: [{ Name: one.dimension, Value: value }],
      Statistic: one.statistic,
      Period: one.periodSeconds,
      EvaluationPeriods: one.periods,
      Threshold: 1,
      ComparisonOperator: one.comparison,
      TreatMissingData: one.missing,
      AlarmActions: [{ 'Fn::If': ['HasAlarmTopic', ref('AlarmTopicArn'), ref('AWS::NoValue')] }],
    },
  };
}
