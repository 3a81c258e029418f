import type { AwsCredentials } from '../api/credentials.ts';
import { asBrokerError, type BrokerError } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import { type AwsIdentity, refuseCaller, stsPlace } from '../auth/aws-identity.ts';
import type { RegionResolver } from '../auth/aws-region.ts';
import { probeSources, type SourceFinding } from '../auth/aws-sources.ts';
import { type CallerIdentity, callerIdentity } from '../auth/aws-sts.ts';
import { fromVariables } from '../auth/aws-variables.ts';
import { type Failure, fill } from '../auth/failures/failure.ts';
import { AUTH_FAILURES, authFailure, stepOf } from '../auth/failures/table.ts';
import type { GcpIdentity } from '../auth/federated.ts';
import type { StepName } from '../auth/steps.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { type Finding, failed, found } from './finding.ts';
import type { Patient } from './patient.ts';

/** Step 2, without the network: only what the environment shows. */
export function offlineSource(environment: Environment): readonly Finding[] {
  const keys = keyFindings(environment);
  if (keys.length > 0) return keys;
  if (fromVariables(environment) !== undefined)
    return [found('aws-source', 'pass', 'environment variables hold AWS credentials (not tried)')];
  return [found('aws-source', 'skip', 'only the environment is looked at offline, and it holds no AWS credentials')];
}

/** Step 2: which source of AWS credentials wins, and why each earlier one does not. */
export async function sourceFindings(
  environment: Environment,
  region: RegionResolver,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const [sources, place] = await Promise.all([probeSources(environment, signal), region(signal)]);
  const won = sources.some(({ outcome }) => outcome === 'gave');
  const findings = sources.map((source) => told(source, won, environment));
  if (!won && findings.every(({ verdict }) => verdict !== 'fail')) {
    const facts = { profile: environment.AWS_PROFILE };
    findings.push(failed('aws-source', authFailure('AWS_NO_CREDENTIALS', 'no source gave AWS credentials', facts)));
  }
  if (place !== undefined)
    findings.push(found('aws-source', 'pass', `region ${safeText(place.name)}, from ${place.from}`));
  else
    findings.push({
      ...failed('aws-source', authFailure('AWS_REGION_MISSING', 'no AWS region is known')),
      verdict: 'warn',
    });
  return [...findings, ...untried(place?.name), ...keyFindings(environment)];
}

/** Nobody has shown yet that Google accepts the hosts of other partitions. */
function untried(region = ''): Finding[] {
  if (!/^(?:cn|us-gov|us-iso)/.test(region)) return [];
  const detail = `region ${safeText(region)} is of a partition that was never tried with Google`;
  const fix = 'Use from: kubernetes-token, or run in a region of the standard partition.';
  return [found('aws-source', 'warn', detail, { fix })];
}

/** The role of the node, taken inside a container that nobody gave a role of its own. */
export function nodeRole(environment: Environment, origin: string, require: unknown): Finding[] {
  const container = ['KUBERNETES_SERVICE_HOST', 'ECS_CONTAINER_METADATA_URI_V4', 'ECS_CONTAINER_METADATA_URI'];
  if (origin !== 'instance-role' || require !== undefined || !container.some((name) => environment[name])) return [];
  const { fix }: Failure = AUTH_FAILURES.AWS_NODE_ROLE;
  const detail = 'this is a container, and the role is that of the node under it: every container there has it';
  return [found('aws-source', 'warn', detail, { id: 'AWS_NODE_ROLE', fix })];
}

/** A source that is set up and fails is a failure, unless a later one gave credentials all the same. */
function told(source: SourceFinding, won: boolean, environment: Environment): Finding {
  const detail = `${source.source}: ${source.why}`;
  if (source.outcome === 'gave') return found('aws-source', 'pass', detail);
  if (source.outcome === 'absent') return found('aws-source', 'skip', detail);
  const id = source.id ?? 'AWS_NO_CREDENTIALS';
  const { fix }: Failure = AUTH_FAILURES[id];
  const more = {
    id,
    fix: fill(fix, {
      profile: environment.AWS_PROFILE,
      region: environment.AWS_REGION || environment.AWS_DEFAULT_REGION,
    }),
  };
  return found('aws-source', won ? 'warn' : 'fail', detail, more);
}

function keyFindings(environment: Environment): Finding[] {
  const { accessKeyId = '', sessionToken } = fromVariables(environment) ?? {};
  if (accessKeyId.startsWith('ASIA') && sessionToken === undefined)
    return [
      failed(
        'aws-source',
        authFailure('AWS_SESSION_TOKEN_MISSING', 'the key is temporary, AWS_SESSION_TOKEN is missing'),
      ),
    ];
  if (!accessKeyId.startsWith('AKIA')) return [];
  return [
    {
      ...failed('aws-source', authFailure('AWS_LONG_LIVED_KEY', 'AWS_ACCESS_KEY_ID is that of an IAM user')),
      verdict: 'warn',
    },
  ];
}

/** Whom AWS knows an identity as, met in person. */
export interface Met {
  readonly credentials: AwsCredentials;
  /** Undefined where AWS could not be asked. */
  readonly caller: CallerIdentity | undefined;
  readonly region: string;
}

/** Steps 2 and 3 for one identity: its credentials, taken as a run takes them, and who AWS says they are. */
export async function awsIdentity(
  name: string | undefined,
  identity: AwsIdentity,
  { broker, runtime, signal, steps }: Patient,
): Promise<{ readonly findings: readonly Finding[]; readonly met: Met | undefined }> {
  const about = name ?? 'the process';
  const first: StepName = identity.google !== undefined ? 'google-identity' : 'aws-source';
  const refused = (error: BrokerError, seen: readonly Finding[], otherwise: StepName): readonly Finding[] => {
    if (error.code === 'stopped') throw error;
    return [...seen, failed(stepOf(error) ?? otherwise, error, about)];
  };
  let credentials: AwsCredentials;
  try {
    credentials = await broker.aws(name).get({ signal });
  } catch (thrown) {
    const seen = steps(about);
    const next = identity.google === undefined ? 'aws-identity' : 'google-to-aws';
    const at = seen.some(({ step }) => step === first) ? next : first;
    return { findings: refused(asBrokerError(thrown), seen, at), met: undefined };
  }
  const seen = steps(about);
  // Who we are can be asked anywhere; that no region is known has its own line.
  const anywhere = { region: 'us-east-1', endpoint: runtime.endpoints.awsSts };
  const place = await stsPlace(identity.region, runtime, signal).catch(() => anywhere);
  const met = { credentials, caller: undefined, region: place.region };
  try {
    const caller = await callerIdentity(credentials, place, { signal, clock: runtime.clock });
    const who = found('aws-identity', 'pass', `${caller.arn}, user id ${caller.userId}`, { about });
    return { findings: [...seen, who], met: { ...met, caller } };
  } catch (thrown) {
    const error = asBrokerError(thrown);
    if (error.code !== 'network' && error.code !== 'timeout')
      return { findings: refused(error, seen, 'aws-identity'), met: undefined };
    // A subnet whose only way out leads to Google: there the chain works, since Google asks AWS.
    const detail = `AWS could not be asked who this is: ${error.message}`;
    const told = found('aws-identity', 'warn', detail, { about, fix: error.hint, id: 'AWS_STS_UNREACHABLE' });
    return { findings: [...seen, told], met };
  }
}

/** Step 3 for an identity of kind gcp: is this whom it expects? */
export function expectationFinding(name: string, { expect }: GcpIdentity, caller: CallerIdentity): Finding {
  const about = name;
  if (expect === undefined) {
    const role = /assumed-role\/([^/]+)/.exec(caller.arn)?.[1] ?? 'ROLE';
    const fix = `Add to identity ${name}: expect: { awsAccountId: "${caller.account}", roleName: ${role} }`;
    return found('aws-identity', 'warn', 'nothing is checked before the request goes to Google', { about, fix });
  }
  try {
    refuseCaller(expect, caller);
    return found('aws-identity', 'pass', `${caller.arn} is whom \`expect\` names`, { about });
  } catch (error) {
    return failed('aws-identity', asBrokerError(error), about);
  }
}
