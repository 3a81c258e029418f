import { type Deployment, PLATFORM_ACTIONS } from './deployment.ts';
import { machineName, machineStatements, roleNameFor } from './state-machine-role.ts';

const filled = (arn: string): string | object =>
  arn === '*'
    ? arn
    : {
        'Fn::Sub': arn
          // What stands in it for IAM is none of the template's.
          .replace(/\$\{/g, '$\u007b!')
          .replace('{partition}', '$\u007bAWS::Partition}')
          .replace('{region}', '$\u007bAWS::Region}')
          .replace('{account}', '$\u007bAWS::AccountId}'),
      };

/**
 * The state machine and all that belongs to it.
 *
 * Source: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-statemachine.html
 */
export function stateMachineResources(deployment: Deployment): Readonly<Record<string, object>> {
  const { distribution, deploy, pipeline } = deployment;
  if (distribution === undefined) return {};
  const name = machineName(deployment);
  const statements = machineStatements(deployment, distribution).map(({ actions, resources }) => ({
    Effect: 'Allow',
    Action: [...actions],
    Resource: resources.map(filled),
  }));
  const document = (Statement: readonly object[]) => ({ Version: '2012-10-17', Statement });
  return {
    StateMachine: {
      Type: 'AWS::Serverless::StateMachine',
      DependsOn: ['StateMachinePolicy'],
      Properties: {
        Name: name,
        DefinitionUri: 'state-machine.asl.json',
        DefinitionSubstitutions: {
          FunctionArn: { 'Fn::GetAtt': ['Function', 'Arn'] },
          Partition: { Ref: 'AWS::Partition' },
        },
        Role: { 'Fn::GetAtt': ['StateMachineRole', 'Arn'] },
        Type: 'STANDARD',
        Logging: {
          Destinations: [
            { CloudWatchLogsLogGroup: { LogGroupArn: { 'Fn::GetAtt': ['StateMachineLogGroup', 'Arn'] } } },
          ],
          Level: 'ERROR',
          IncludeExecutionData: false,
        },
        Tags: { 'isthmus:pipeline': pipeline },
        ...(deploy.schedule === undefined
          ? {}
          : {
              Events: {
                Schedule: { Type: 'Schedule', Properties: { Schedule: deploy.schedule, Enabled: true, Input: '{}' } },
              },
            }),
      },
    },
    StateMachineRole: {
      Type: 'AWS::IAM::Role',
      Properties: {
        RoleName: roleNameFor(deployment, 'states'),
        AssumeRolePolicyDocument: document([
          { Effect: 'Allow', Principal: { Service: ['states.amazonaws.com'] }, Action: ['sts:AssumeRole'] },
        ]),
      },
    },
    StateMachinePolicy: {
      Type: 'AWS::IAM::Policy',
      Properties: {
        PolicyName: `${name}-states`,
        Roles: [{ Ref: 'StateMachineRole' }],
        PolicyDocument: document(statements),
      },
    },
    StateMachineLogGroup: {
      Type: 'AWS::Logs::LogGroup',
      Properties: { LogGroupName: `/aws/vendedlogs/states/${name}`, RetentionInDays: deploy.logRetentionDays },
    },
  };
}

/** What the function needs besides, where a state machine calls it. */
export function functionStatements(deployment: Deployment): readonly object[] {
  const { distribution } = deployment;
  if (distribution === undefined) return [];
  const files = `arn:{partition}:s3:::${distribution.bucket}/${distribution.folder.replace(/[*?$]/g, '?')}*`;
  const executions = `arn:{partition}:states:{region}:{account}:execution:${machineName(deployment)}:*`;
  return [
    { Effect: 'Allow', Action: [...PLATFORM_ACTIONS.files], Resource: [filled(files)] },
    { Effect: 'Allow', Action: [...PLATFORM_ACTIONS.executions], Resource: [filled(executions)] },
  ];
}
