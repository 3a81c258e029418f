import { Document, isNode } from 'yaml';
import { DIMENSION } from '../runtime/figures.ts';
import { policyStatement } from '../setup/shell.ts';
import { trustOf } from '../setup/trust.ts';
import { type Alarm, alarmsOf, type Deployment, PLATFORM_ACTIONS, TICK_EVENT } from './deployment.ts';
import { functionStatements, stateMachineResources } from './sam-states.ts';

const ref = (name: string) => ({ Ref: name });
const attribute = (resource: string, name: string) => ({ 'Fn::GetAtt': [resource, name] });

/**
 * An AWS SAM template of the function and all that belongs to it.
 *
 * Source: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification.html
 */
export function samTemplate(deployment: Deployment): string {
  const { pipeline, name, deploy, pushed, distribution } = deployment;
  const template = {
    AWSTemplateFormatVersion: '2010-09-09',
    Transform: 'AWS::Serverless-2016-10-31',
    Description: `Isthmus pipeline ${pipeline}`,
    Parameters: {
      AlarmTopicArn: { Type: 'String', Default: '', Description: 'An SNS topic that is told of alarms.' },
      CreateRole: {
        Type: 'String',
        Default: 'true',
        AllowedValues: ['true', 'false'],
        Description: 'false when `isthmus auth setup` has made the role already.',
      },
    },
    Conditions: {
      HasAlarmTopic: { 'Fn::Not': [{ 'Fn::Equals': [ref('AlarmTopicArn'), ''] }] },
      MakesRole: { 'Fn::Equals': [ref('CreateRole'), 'true'] },
    },
    Resources: {
      Function: lambdaFunction(deployment),
      ...roles(deployment),
      LogGroup: {
        Type: 'AWS::Logs::LogGroup',
        // Kept with the stack's deletion, and not when its creation fails: the names would block the next try.
        DeletionPolicy: 'RetainExceptOnCreate',
        UpdateReplacePolicy: 'Retain',
        Properties: { LogGroupName: `/aws/lambda/${name}`, RetentionInDays: deploy.logRetentionDays },
      },
      DeadLetterQueue: {
        Type: 'AWS::SQS::Queue',
        DeletionPolicy: 'RetainExceptOnCreate',
        UpdateReplacePolicy: 'Retain',
        Properties: {
          QueueName: `${name}-dead-letters`,
          MessageRetentionPeriod: 1_209_600,
          SqsManagedSseEnabled: true,
        },
      },
      ...stateMachineResources(deployment),
      ...Object.fromEntries(alarmsOf(deployment).map((one) => [`${one.id}Alarm`, alarm(one, deployment)])),
    },
    Outputs: {
      FunctionArn: { Value: attribute('Function', 'Arn') },
      ...(distribution === undefined ? {} : { StateMachineArn: { Value: ref('StateMachine') } }),
      RoleArn: { Value: roleArn(deployment) },
      ...(pushed ? { PushUrl: { Value: attribute('FunctionUrl', 'FunctionUrl') } } : {}),
    },
  };
  // YAML 1.1, as AWS reads it: what it would take for a date or a boolean is quoted.
  const document = new Document(template, { version: '1.1', aliasDuplicateObjects: false });
  for (const [path, comment] of comments(deployment)) {
    const node = document.getIn([...path], true);
    if (isNode(node)) node.commentBefore = ` ${comment}`;
  }
  return `${HEAD}\n${document.toString({ lineWidth: 0 })}`;
}

/** Why things are there, by their place in the template. */
function comments({ grants, pushed }: Deployment): readonly Comment[] {
  const at = (...path: (string | number)[]) => ['Resources', ...path];
  const push: Comment = [
    at('Function', 'Properties', 'FunctionUrlConfig'),
    'Every push is verified by the function itself: its token, audience and sender.',
  ];
  return [
    [at('Function'), 'A paused run, a deadline, a kill: the next invocation goes on where it stopped.'],
    [at('Role'), 'What the pipeline and its platform need, and nothing else.'],
    [at('LogGroup'), 'One JSON line an event, and the metrics.'],
    [at('DeadLetterQueue'), 'Events that failed three times.'],
    ...(pushed ? [push] : []),
    ...grants.map(
      ({ reason }, index): Comment => [
        at('PipelinePolicy', 'Properties', 'PolicyDocument', 'Statement', index),
        `To ${reason}.`,
      ],
    ),
  ];
}

type Comment = readonly [path: readonly (string | number)[], text: string];

const HEAD = `# Made by \`isthmus package\`; yours from here on: an edited file is not overwritten.
#   sam deploy --guided --capabilities CAPABILITY_NAMED_IAM
# The zip of the function lies beside this file; the Google side is made by \`isthmus auth setup\`. Values of variables
# are in the environment of the function and in its rights: package again for others.`;

function lambdaFunction(deployment: Deployment): object {
  const { name, deploy, variables, pushed, tick, distribution } = deployment;
  const { timeout, memorySize, architecture, reservedConcurrency } = deploy;
  // A run that is distributed is begun by the state machine.
  const schedule = distribution === undefined ? deploy.schedule : undefined;
  return {
    Type: 'AWS::Serverless::Function',
    // Lambda checks at once whether it may send to the queue.
    DependsOn: ['PlatformPolicy'],
    Properties: {
      FunctionName: name,
      CodeUri: 'function.zip',
      Handler: 'index.handler',
      Runtime: 'nodejs24.x',
      Architectures: [architecture],
      MemorySize: memorySize,
      Timeout: Math.floor(timeout / 1000),
      Role: roleArn(deployment),
      LoggingConfig: { LogGroup: ref('LogGroup') },
      DeadLetterQueue: { Type: 'SQS', TargetArn: attribute('DeadLetterQueue', 'Arn') },
      EventInvokeConfig: { MaximumRetryAttempts: 2 },
      ...(reservedConcurrency === undefined ? {} : { ReservedConcurrentExecutions: reservedConcurrency }),
      ...(Object.keys(variables).length === 0 ? {} : { Environment: { Variables: variables } }),
      ...(pushed ? { FunctionUrlConfig: { AuthType: 'NONE' } } : {}),
      ...(schedule === undefined && tick === undefined
        ? {}
        : {
            Events: {
              ...(schedule && { Schedule: { Type: 'Schedule', Properties: { Schedule: schedule, Enabled: true } } }),
              ...(tick && {
                Resume: { Type: 'Schedule', Properties: { Schedule: tick, Enabled: true, Input: TICK_EVENT } },
              }),
            },
          }),
    },
  };
}

const pathOf = ({ role }: Deployment): string => /:role(\/(?:.*\/)?)[^/]+$/.exec(role.arn)?.[1] ?? '/';

/** Of the role that is made here, or of the one that is there. */
const roleArn = (deployment: Deployment): object => {
  const there = `arn:\${AWS::Partition}:iam::\${AWS::AccountId}:role${pathOf(deployment)}${deployment.role.role}`;
  return { 'Fn::If': ['MakesRole', attribute('Role', 'Arn'), { 'Fn::Sub': there }] };
};

function roles(deployment: Deployment): object {
  const { role: setup, grants, name, deploy, distribution } = deployment;
  const { principal, actions } = trustOf(setup);
  const again = `arn:\${AWS::Partition}:lambda:\${AWS::Region}:\${AWS::AccountId}:function:${name}`;
  const path = pathOf(deployment);
  const document = (Statement: readonly object[]) => ({ Version: '2012-10-17', Statement });
  const allow = (Action: readonly string[], on: object) => ({ Effect: 'Allow', Action: [...Action], Resource: [on] });
  return {
    Role: {
      Type: 'AWS::IAM::Role',
      Condition: 'MakesRole',
      Properties: {
        RoleName: setup.role,
        ...(path === '/' ? {} : { Path: path }),
        AssumeRolePolicyDocument: document([
          { Effect: 'Allow', Principal: { Service: [...principal.ids] }, Action: [...actions] },
        ]),
      },
    },
    ...(grants.length === 0
      ? {}
      : {
          PipelinePolicy: {
            Type: 'AWS::IAM::Policy',
            Condition: 'MakesRole',
            Properties: {
              PolicyName: name,
              Roles: [ref('Role')],
              PolicyDocument: document(grants.map(policyStatement)),
            },
          },
        }),
    PlatformPolicy: {
      Type: 'AWS::IAM::Policy',
      Properties: {
        PolicyName: `${name}-platform`,
        Roles: [{ 'Fn::If': ['MakesRole', ref('Role'), setup.role] }],
        PolicyDocument: document([
          allow(PLATFORM_ACTIONS.logs, attribute('LogGroup', 'Arn')),
          allow(PLATFORM_ACTIONS.deadLetters, attribute('DeadLetterQueue', 'Arn')),
          ...(deploy.continue === 'self' && distribution === undefined
            ? [allow(PLATFORM_ACTIONS.again, { 'Fn::Sub': again })]
            : []),
          ...functionStatements(deployment),
        ]),
      },
    },
  };
}

function alarm(one: Alarm, { name, pipeline }: Deployment): object {
  const values = {
    FunctionName: name,
    QueueName: attribute('DeadLetterQueue', 'QueueName'),
    StateMachineArn: ref('StateMachine'),
    [DIMENSION]: pipeline,
  };
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
