import { BrokerError } from '../api/errors.ts';
import { policyDocument } from '../setup/shell.ts';
import { environmentOf, STOP_SECONDS, USER } from './container.ts';
import type { Deployment } from './deployment.ts';

/** Sizes of a Fargate task. Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size */
const FARGATE: readonly (readonly [cpu: number, memories: readonly number[]])[] = [
  [256, [512, 1024, 2048]],
  [512, [3072, 4096]],
  [1024, [5120, 6144, 7168, 8192]],
  [2048, [9216, 10_240]],
];

/** The least task that has so much memory. */
export function fargateSize(memorySize: number): { readonly cpu: string; readonly memory: string } {
  for (const [cpu, memories] of FARGATE) {
    const memory = memories.find((one) => one >= memorySize);
    if (memory !== undefined) return { cpu: String(cpu), memory: String(memory) };
  }
  throw new BrokerError('internal', `no Fargate task has ${memorySize} MiB`);
}

/**
 * For ECS on Fargate. What only the account knows stands in capitals.
 *
 * Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
 */
export function taskDefinition(deployment: Deployment): object {
  const { name, deploy, role, region = 'REGION' } = deployment;
  const account = /^\d{12}$/.test(role.account) ? role.account : 'ACCOUNT_ID';
  const partition = role.arn.split(':')[1] ?? 'aws';
  return {
    family: name,
    requiresCompatibilities: ['FARGATE'],
    networkMode: 'awsvpc',
    ...fargateSize(deploy.memorySize),
    runtimePlatform: {
      cpuArchitecture: deploy.architecture === 'arm64' ? 'ARM64' : 'X86_64',
      operatingSystemFamily: 'LINUX',
    },
    taskRoleArn: /^\d{12}$/.test(role.account) ? role.arn : `arn:${partition}:iam::${account}:role/${role.role}`,
    executionRoleArn: `arn:${partition}:iam::${account}:role/ecsTaskExecutionRole`,
    containerDefinitions: [
      {
        name: 'isthmus',
        image: `${account}.dkr.ecr.${region}.amazonaws.com${partition === 'aws-cn' ? '.cn' : ''}/${name}:latest`,
        command: ['run'],
        essential: true,
        user: `${USER}:${USER}`,
        readonlyRootFilesystem: true,
        linuxParameters: { capabilities: { drop: ['ALL'] }, initProcessEnabled: true },
        stopTimeout: STOP_SECONDS,
        environment: [...environmentOf(deployment), { name: 'ISTHMUS_METRICS', value: 'emf' }],
        logConfiguration: {
          logDriver: 'awslogs',
          options: { 'awslogs-group': logGroup(deployment), 'awslogs-region': region, 'awslogs-stream-prefix': 'run' },
        },
      },
    ],
  };
}

const logGroup = ({ name }: Deployment): string => `/isthmus/${name}`;

/** ECS makes no log group by itself, and starts no task without it. */
export const registerScript = (deployment: Deployment): string => `#!/usr/bin/env bash
# Made by \`isthmus package\`; yours from here on. May be run again. The role of the task is made by
# \`isthmus auth setup --place ecs\`; what only you know stands in capitals in task-definition.json.
set -euo pipefail
cd "$(dirname "$0")"
there=$(aws logs describe-log-groups --log-group-name-prefix ${logGroup(deployment)} --query "logGroups[?logGroupName=='${logGroup(deployment)}'].arn" --output text)
[ -n "$there" ] || aws logs create-log-group --log-group-name ${logGroup(deployment)}
aws logs put-retention-policy --log-group-name ${logGroup(deployment)} --retention-in-days ${deployment.deploy.logRetentionDays}
aws ecs register-task-definition --cli-input-json file://task-definition.json
`;

/** ECS starts no task by itself. Source: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html */
export function scheduleScript({ name, deploy }: Deployment): string | undefined {
  if (deploy.schedule === undefined) return undefined;
  return `#!/usr/bin/env bash
# Made by \`isthmus package\`; yours from here on. Runs the task at ${deploy.schedule}, by EventBridge Scheduler.
set -euo pipefail
: "$\{CLUSTER_ARN:?aws ecs describe-clusters --query 'clusters[].clusterArn'}"
: "$\{SUBNET:?a subnet that reaches the internet, or has endpoints: subnet-…}"
: "$\{SCHEDULER_ROLE_ARN:?a role that scheduler.amazonaws.com may assume, with ecs:RunTask on the task and iam:PassRole on its roles}"
task=$(aws ecs describe-task-definition --task-definition ${name} --query taskDefinition.taskDefinitionArn --output text)
# Without its revision: the newest one runs.
target=$(cat <<TARGET
{
  "Arn": "$CLUSTER_ARN",
  "RoleArn": "$SCHEDULER_ROLE_ARN",
  "EcsParameters": {
    "TaskDefinitionArn": "$\{task%:*}",
    "LaunchType": "FARGATE",
    "NetworkConfiguration": { "awsvpcConfiguration": { "Subnets": ["$SUBNET"], "AssignPublicIp": "ENABLED" } }
  }
}
TARGET
)
verb=create
aws scheduler get-schedule --name ${name} >/dev/null 2>&1 && verb=update
aws scheduler "$verb-schedule" --name ${name} --schedule-expression '${deploy.schedule}' --flexible-time-window Mode=OFF --target "$target"
`;
}

/** What the role of a task is allowed; the right to write logs is that of the execution role. */
export const taskPolicy = ({ grants }: Deployment): object => policyDocument(grants);
