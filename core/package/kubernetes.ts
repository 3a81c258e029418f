import { basename, dirname } from 'node:path/posix';
import { stringify } from 'yaml';
import { BrokerError } from '../api/errors.ts';
import { readSchedule } from '../pipeline/schedule.ts';
import { shortName } from '../setup/names.ts';
import { environmentOf, STOP_SECONDS, USER } from './container.ts';
import type { Deployment } from './deployment.ts';

/**
 * A CronJob, or a Job where the pipeline has no schedule.
 * Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/cron-job-v1/
 */
export function kubernetesJob(deployment: Deployment): string {
  const { deploy, role, podTokens } = deployment;
  // What the names of a CronJob's pods leave room for.
  const name = shortName(deployment.name, 52);
  const memory = `${deploy.memorySize}Mi`;
  const arn = /^\d{12}$/.test(role.account) ? role.arn : 'ROLE_ARN';
  const labels = { 'app.kubernetes.io/name': name };
  const account = {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, labels, annotations: { 'eks.amazonaws.com/role-arn': arn } },
  };
  const arch = deploy.architecture === 'arm64' ? 'arm64' : 'amd64';
  const jobSpec = {
    backoffLimit: 2,
    template: {
      metadata: { labels },
      spec: {
        restartPolicy: 'Never',
        serviceAccountName: name,
        terminationGracePeriodSeconds: STOP_SECONDS,
        nodeSelector: { 'kubernetes.io/arch': arch },
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
            ...(podTokens.length === 0
              ? {}
              : {
                  volumeMounts: podTokens.map(({ file }, index) => ({
                    name: `token-${index}`,
                    mountPath: dirname(file),
                    readOnly: true,
                  })),
                }),
          },
        ],
        ...(podTokens.length === 0 ? {} : { volumes: podTokens.map(tokenVolume) }),
      },
    },
  };
  const { schedule } = deploy;
  const metadata = { name, labels };
  const job =
    schedule === undefined
      ? { apiVersion: 'batch/v1', kind: 'Job', metadata, spec: jobSpec }
      : {
          apiVersion: 'batch/v1',
          kind: 'CronJob',
          metadata,
          spec: {
            schedule: cronOf(schedule),
            timeZone: 'Etc/UTC',
            concurrencyPolicy: 'Forbid',
            startingDeadlineSeconds: 600,
            jobTemplate: { spec: jobSpec },
          },
        };
  const head = `# Made by \`isthmus package\`; yours from here on. What only you know stands in capitals.
# With EKS Pod Identity the annotation of the service account is not needed.`;
  return `${head}\n${stringify(account, { lineWidth: 0 })}---\n${stringify(job, { lineWidth: 0, aliasDuplicateObjects: false })}`;
}

/** Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection */
const tokenVolume = ({ file, audience }: Deployment['podTokens'][number], index: number): object => ({
  name: `token-${index}`,
  projected: { sources: [{ serviceAccountToken: { audience, expirationSeconds: 3600, path: basename(file) } }] },
});

/**
 * A schedule of EventBridge as one of cron. EventBridge counts days of the week from 1 (Sunday), cron from 0.
 *
 * @throws BrokerError `invalid_config` for what cron cannot say.
 */
export function cronOf(schedule: string): string {
  const read = readSchedule(schedule, () => {});
  if (read?.kind === 'rate') {
    const { count, unit } = read;
    if (unit === 'minute' && 60 % count === 0) return count === 60 ? '0 * * * *' : `*/${count} * * * *`;
    if (unit === 'hour' && 24 % count === 0) return count === 24 ? '0 0 * * *' : `0 */${count} * * *`;
    if (unit === 'day' && count === 1) return '0 0 * * *';
  } else if (read !== undefined) {
    const { minute, hour, day, month, weekday, year } = read.fields;
    const special = /[LW#]/.test(day + weekday.replace(/[A-Z]{3}/g, '')) || wraps(weekday);
    const weekdays = weekday.replace(/(\/\d)|\d/g, (found, step) => step ?? String(Number(found) - 1));
    if (year === '*' && !special)
      return [minute, hour, day, month, weekdays].map((field) => (field === '?' ? '*' : field)).join(' ');
  }
  throw new BrokerError('invalid_config', `deploy.schedule: a CronJob cannot run at ${schedule}`, {
    hint: 'Use a rate that divides the hour or the day, or a cron(…) of every year without L, W and #.',
  });
}

const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

/** `FRI-MON`: EventBridge goes on after Saturday, cron does not. */
const wraps = (weekday: string): boolean =>
  weekday.split(',').some((item) => {
    const [from, to] = item.split('-').map((end) => (DAYS.includes(end) ? DAYS.indexOf(end) + 1 : Number(end)));
    return from !== undefined && to !== undefined && from > to;
  });
