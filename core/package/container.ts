import { stringify } from 'yaml';
import { BrokerError } from '../api/errors.ts';
import { shortName } from '../setup/names.ts';
import { policyDocument } from '../setup/shell.ts';
import type { Deployment } from './deployment.ts';

/** Of distroless `nonroot`. */
const USER = 65_532;
/** What a clean stop may take; platforms allow up to two minutes. */
const STOP_SECONDS = 110;

/** Source: https://github.com/GoogleContainerTools/distroless */
export const DOCKERFILE = `# Made by \`isthmus package\`; yours from here on.
#   docker build -t NAME .
# Nothing is installed: the bundle is one file. No shell, no root, and it runs with a read-only root:
#   docker run --read-only --cap-drop ALL NAME            runs the pipeline once
#   docker run --read-only --cap-drop ALL -p 8080:8080 NAME serve     waits for pushes
ARG BASE=gcr.io/distroless/nodejs24-debian13:nonroot
FROM \${BASE}
WORKDIR /app
COPY index.mjs pipeline.yaml ./
USER ${USER}:${USER}
ENV NODE_ENV=production
EXPOSE 8080
ENTRYPOINT ["/nodejs/bin/node", "/app/index.mjs"]
CMD ["run"]
`;

export const DOCKERIGNORE = `*\n!index.mjs\n!pipeline.yaml\n`;

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

const environmentOf = ({ variables, deploy }: Deployment): { name: string; value: string }[] => [
  { name: 'ISTHMUS_MEMORY_SIZE', value: String(deploy.memorySize) },
  { name: 'ISTHMUS_GRACE', value: String(STOP_SECONDS - 10) },
  ...Object.entries(variables).map(([name, value]) => ({ name, value })),
];

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
    taskRoleArn: `arn:${partition}:iam::${account}:role/${role.role}`,
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
aws logs create-log-group --log-group-name ${logGroup(deployment)} || echo 'the log group is there already'
aws logs put-retention-policy --log-group-name ${logGroup(deployment)} --retention-in-days ${deployment.deploy.logRetentionDays}
aws ecs register-task-definition --cli-input-json file://task-definition.json
`;

/** What the role of a task is allowed; the right to write logs is that of the execution role. */
export const taskPolicy = ({ grants }: Deployment): object => policyDocument(grants);

/** Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/cron-job-v1/ */
export function cronJob(deployment: Deployment): string {
  const { deploy, role } = deployment;
  // What the names of a CronJob's pods leave room for.
  const name = shortName(deployment.name, 52);
  const memory = `${deploy.memorySize}Mi`;
  const arn = /^\d{12}$/.test(role.account) ? `arn:aws:iam::${role.account}:role/${role.role}` : `ROLE_ARN`;
  const labels = { 'app.kubernetes.io/name': name };
  const account = {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, labels, annotations: { 'eks.amazonaws.com/role-arn': arn } },
  };
  const job = {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name, labels },
    spec: {
      schedule: cronOf(deploy.schedule ?? 'rate(1 day)'),
      timeZone: 'Etc/UTC',
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds: 600,
      jobTemplate: {
        spec: {
          backoffLimit: 2,
          template: {
            metadata: { labels },
            spec: {
              restartPolicy: 'Never',
              serviceAccountName: name,
              terminationGracePeriodSeconds: STOP_SECONDS,
              securityContext: {
                runAsNonRoot: true,
                runAsUser: USER,
                runAsGroup: USER,
                fsGroup: USER,
                seccompProfile: { type: 'RuntimeDefault' },
              },
              containers: [
                {
                  name: 'isthmus',
                  image: `REGISTRY/${deployment.name}:latest`,
                  args: ['run'],
                  env: environmentOf(deployment),
                  resources: { requests: { cpu: '250m', memory }, limits: { memory } },
                  securityContext: {
                    allowPrivilegeEscalation: false,
                    readOnlyRootFilesystem: true,
                    capabilities: { drop: ['ALL'] },
                  },
                },
              ],
            },
          },
        },
      },
    },
  };
  const head = `# Made by \`isthmus package\`; yours from here on. What only you know stands in capitals.
# With EKS Pod Identity the annotation of the service account is not needed.`;
  return `${head}\n${stringify(account, { lineWidth: 0 })}---\n${stringify(job, { lineWidth: 0, aliasDuplicateObjects: false })}`;
}

/**
 * A schedule of EventBridge as one of cron. EventBridge counts days of the week from 1 (Sunday), cron from 0.
 *
 * @throws BrokerError `invalid_config` for what cron cannot say.
 */
export function cronOf(schedule: string): string {
  const [, count = '', unit = ''] = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(schedule) ?? [];
  const every = Number(count);
  if (unit === 'minute' && 60 % every === 0) return every === 60 ? '0 * * * *' : `*/${every} * * * *`;
  if (unit === 'hour' && 24 % every === 0) return every === 24 ? '0 0 * * *' : `0 */${every} * * *`;
  if (unit === 'day' && every === 1) return '0 0 * * *';
  const [minute, hour, day, month, weekday = '', year] = /^cron\((.*)\)$/.exec(schedule)?.[1]?.split(' ') ?? [];
  if (minute === undefined || year !== '*' || /[LW#]/.test(`${day}${weekday.replace(/[A-Z]{3}/g, '')}`)) {
    throw new BrokerError('invalid_config', `deploy.schedule: a CronJob cannot run at ${schedule}`, {
      hint: 'Use a rate that divides the hour or the day, or a cron(…) of every year without L, W and #.',
    });
  }
  const weekdays = weekday.replace(/(\/\d)|\d/g, (found, step) => step ?? String(Number(found) - 1));
  return [minute, hour, day, month, weekdays].map((field) => (field === '?' ? '*' : field)).join(' ');
}
