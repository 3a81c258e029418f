import { asBrokerError } from '../api/errors.ts';
import type { AuthRuntime, AwsIdentity } from '../auth/aws-identity.ts';
import { awsStsHost } from '../auth/aws-sts.ts';
import { fromVariables } from '../auth/aws-variables.ts';
import { IdentityBroker } from '../auth/broker.ts';
import { CredentialCache } from '../auth/cached.ts';
import type { GcpIdentity, Known } from '../auth/federated.ts';
import { googleHosts } from '../auth/gcp-identity.ts';
import { kubernetesToken } from '../auth/subject-token.ts';
import { grantsOf } from '../pipeline/grants.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import type { OpenJob } from '../runtime/job.ts';
import { awsIdentity, expectationFinding, type Met, nodeRole, offlineSource, sourceFindings } from './aws.ts';
import { endpointFindings } from './endpoints.ts';
import { type Finding, failed, found } from './finding.ts';
import { chainFindings, podToken, predictedIdentity, selfCheck } from './google.ts';
import type { Patient, StepLog } from './patient.ts';
import { runtimeFindings } from './runtime.ts';

export interface Examination {
  readonly environment: Environment;
  readonly runtime: AuthRuntime;
  /** Undefined: only the process is examined. It was opened with `log.observe`. */
  readonly open: OpenJob | undefined;
  readonly log: StepLog;
  readonly offline: boolean;
  readonly signal: AbortSignal;
  /** Told of each finding as it is made. */
  readonly tell: (finding: Finding) => void;
}

/** Walks the keyless chain step by step, each as a run does it. No item is carried; what a check begins, it takes back. */
export async function examine(examination: Examination): Promise<readonly Finding[]> {
  const { environment, runtime, open, log, offline, signal, tell } = examination;
  const all: Finding[] = [];
  const add = (findings: readonly Finding[]): void => {
    for (const finding of findings) tell(finding);
    all.push(...findings);
  };
  const identities = Object.entries(open?.pipeline.identities ?? {});
  const gcp = identities.filter((entry): entry is [string, GcpIdentity] => entry[1].kind === 'gcp');
  const aws = identities.filter((entry): entry is [string, AwsIdentity] => entry[1].kind === 'aws');
  const ambient = needsAmbient(open, gcp, aws);
  const google = gcp.flatMap(([, identity]) => hostsOf(identity, runtime));
  const storage = gcp.map(([, { universeDomain }]) => open?.endpoints.gcs(universeDomain) ?? '');
  const hosts = {
    needed: [...new Set([...google, ...storage])],
    useful: ambient ? awsHosts(environment, runtime) : [],
  };

  add(await runtimeFindings(environment, hosts, runtime.clock, offline ? undefined : signal));
  if (open !== undefined) add(configFindings(open));
  if (offline) {
    if (ambient) add(offlineSource(environment));
    for (const [name, identity] of gcp) add(await offlineFindings(name, identity, examination));
    add([found('google-sts', 'skip', 'offline: nothing was sent anywhere')]);
    return all;
  }

  if (ambient) add(await sourceFindings(environment, runtime.region, signal));
  const broker = open?.credentials ?? processBroker(runtime, log);
  const patient: Patient = { broker, runtime, signal, steps: log.take };
  const known = new Map<string | undefined, Met | undefined>();
  const meet = async (name: string | undefined, identity: AwsIdentity): Promise<void> => {
    const { findings, met } = await awsIdentity(name, identity, patient);
    add(findings);
    if (met !== undefined && 'origin' in met.credentials)
      add(nodeRole(environment, String(met.credentials.origin), identity.require ?? requiredBy(aws)));
    known.set(name, met);
  };
  if (ambient) await meet(undefined, { kind: 'aws' });
  for (const [name, identity] of aws) await meet(name, identity);
  const names = new Map<string, Known>();
  for (const [name, identity] of gcp) {
    const met = known.get(identity.aws);
    const pod = await podToken(name, identity, runtime.clock.now());
    const roleArn = aws.find(([one]) => one === identity.aws)?.[1].roleArn;
    const who: Known = { caller: met?.caller, sub: pod.sub, roleArn };
    names.set(name, who);
    add([...pod.findings, ...(await gcpFindings(name, identity, met, who, patient))]);
  }
  if (open !== undefined) add(await endpointFindings(open, { gcp, names, signal, before: all }));
  return all;
}

/** A pipeline that says anywhere which source it wants has thought of it. */
const requiredBy = (aws: readonly (readonly [string, AwsIdentity])[]): unknown =>
  aws.find(([, { require }]) => require !== undefined)?.[1].require;

/** What can be told of an identity without sending anything: who it will be, and that its proof holds. */
async function offlineFindings(
  name: string,
  identity: GcpIdentity,
  { environment, runtime }: Examination,
): Promise<readonly Finding[]> {
  const credentials = identity.aws === undefined ? fromVariables(environment) : undefined;
  const region = environment.AWS_REGION || environment.AWS_DEFAULT_REGION;
  const now = runtime.clock.now();
  const proof = credentials && region ? selfCheck(name, identity, { credentials, region }, now) : [];
  if (identity.from === 'kubernetes-token') {
    const refused = await kubernetesToken(identity.tokenFile ?? '', identity.audience ?? '', now).then(
      () => undefined,
      (error: unknown) => failed('subject-token', asBrokerError(error), name),
    );
    if (refused !== undefined) return [refused];
  }
  const pod = await podToken(name, identity, now);
  return [...predictedIdentity(name, identity, { sub: pod.sub }), ...pod.findings, ...proof];
}

async function gcpFindings(
  name: string,
  identity: GcpIdentity,
  met: Met | undefined,
  known: Known,
  patient: Patient,
): Promise<readonly Finding[]> {
  const fromAws = identity.from === 'aws-signature' || identity.from === 'aws-token';
  if (fromAws && met === undefined)
    return [found('google-sts', 'skip', 'not reached: there is no AWS identity', { about: name })];
  const findings: Finding[] = [];
  if (met?.caller !== undefined && fromAws) findings.push(expectationFinding(name, identity, met.caller));
  findings.push(...predictedIdentity(name, identity, known));
  if (findings.some(({ verdict }) => verdict === 'fail')) {
    return [...findings, found('google-sts', 'skip', 'not reached: nothing was sent to Google', { about: name })];
  }
  if (met !== undefined) findings.push(...selfCheck(name, identity, met, patient.runtime.clock.now()));
  const selfChecked = findings.some(({ step }) => step === 'subject-token');
  const chain = await chainFindings(name, identity, patient);
  const repeated = ({ step, verdict }: Finding): boolean =>
    verdict === 'pass' && (step === 'aws-identity' || (step === 'subject-token' && selfChecked));
  return [...findings, ...chain.filter((finding) => !repeated(finding))];
}

function configFindings({ pipeline }: OpenJob): readonly Finding[] {
  const valid = found('config', 'pass', `${pipeline.file} is valid (${pipeline.name})`);
  return [
    valid,
    ...pipeline.warnings.map(({ line, column, message }) => found('config', 'warn', `${line}:${column}: ${message}`)),
  ];
}

function hostsOf(identity: GcpIdentity, runtime: AuthRuntime): string[] {
  const { sts, iamCredentials } = googleHosts(identity, runtime);
  return [
    ...(identity.from === 'metadata' ? [] : [sts]),
    ...(identity.serviceAccount === undefined ? [] : [iamCredentials]),
  ];
}

/** Where the pipeline's own requests to AWS go, as far as the region is known without asking. */
function awsHosts(environment: Environment, { endpoints }: AuthRuntime): string[] {
  const region = environment.AWS_REGION || environment.AWS_DEFAULT_REGION;
  if (endpoints.awsSts !== undefined) return [endpoints.awsSts];
  // A region that is none has its own line.
  if (!region || !/^[a-z]{2,4}(-[a-z]+)+-\d+$/.test(region)) return [];
  const sts = awsStsHost(region);
  return [`https://${sts}`, `https://${sts.replace(/^sts/, 's3')}`];
}

/** Whether anything at all starts from the AWS identity of the process. */
function needsAmbient(
  open: OpenJob | undefined,
  gcp: readonly (readonly [string, GcpIdentity])[],
  aws: readonly (readonly [string, AwsIdentity])[],
): boolean {
  if (open === undefined) return true;
  const byGcp = gcp.some(
    ([, { from, aws: base }]) => base === undefined && (from === 'aws-signature' || from === 'aws-token'),
  );
  const byAws = aws.some(([, { aws: base, google }]) => base === undefined && google === undefined);
  return (
    byGcp || byAws || grantsOf(open.pipeline).some((grant) => grant.cloud === 'aws' && grant.identity === undefined)
  );
}

function processBroker(runtime: AuthRuntime, log: StepLog): IdentityBroker {
  const cache = new CredentialCache(() => runtime.clock.local());
  return new IdentityBroker({ pipeline: 'doctor', identities: {}, runtime, cache, observe: log.observe });
}
