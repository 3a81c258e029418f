import type { Check } from '../api/check.ts';
import { asBrokerError } from '../api/errors.ts';
import type { Grant } from '../api/plugin.ts';
import type { AuthRuntime, AwsIdentity } from '../auth/aws-identity.ts';
import { fromVariables } from '../auth/aws-variables.ts';
import { IdentityBroker } from '../auth/broker.ts';
import { CredentialCache } from '../auth/cached.ts';
import { failureSaid } from '../auth/failures/table.ts';
import { factsOf, type GcpIdentity, googleHosts } from '../auth/gcp-identity.ts';
import type { OpenJob } from '../cli/job.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { awsIdentity, expectationFinding, type Known, offlineSource, sourceFindings } from './aws.ts';
import { type Finding, found } from './finding.ts';
import { chainFindings, predictedIdentity, selfCheck } from './google.ts';
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

/** Walks the keyless chain step by step, each as a run does it. Sources are read from and sinks written to by nobody. */
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
  const hosts = [...new Set(gcp.flatMap(([, identity]) => hostsOf(identity, runtime)))];

  add(await runtimeFindings(environment, hosts, runtime.clock, offline ? undefined : signal));
  if (open !== undefined) add(configFindings(open));
  const ambient = needsAmbient(open, gcp, aws);
  if (offline) {
    if (ambient) add(offlineSource(environment));
    for (const [name, identity] of gcp) add(await offlineFindings(name, identity, examination));
    add([found('google-sts', 'skip', 'offline: nothing was sent anywhere')]);
    return all;
  }

  if (ambient) add(await sourceFindings(environment, runtime.region, signal));
  const broker = open?.credentials ?? processBroker(runtime, log);
  const patient: Patient = { broker, runtime, signal, steps: log.take };
  const known = new Map<string | undefined, Known | undefined>();
  const meet = async (name: string | undefined, identity: AwsIdentity): Promise<void> => {
    const met = await awsIdentity(name, identity, patient);
    add(met.findings);
    known.set(name, met.known);
  };
  if (ambient) await meet(undefined, { kind: 'aws' });
  for (const [name, identity] of aws) await meet(name, identity);
  for (const [name, identity] of gcp) add(await gcpFindings(name, identity, known.get(identity.aws), patient));
  if (open !== undefined) add(await endpointFindings(open, gcp, signal, all));
  return all;
}

/** What can be told of an identity without sending anything: who it will be, and that its proof holds. */
async function offlineFindings(
  name: string,
  identity: GcpIdentity,
  { environment, runtime }: Examination,
): Promise<readonly Finding[]> {
  const credentials = identity.aws === undefined ? fromVariables(environment) : undefined;
  const region = environment.AWS_REGION || environment.AWS_DEFAULT_REGION;
  const proof = credentials && region ? selfCheck(name, identity, { credentials, region }, runtime.clock.now()) : [];
  return [...(await predictedIdentity(name, identity, undefined)), ...proof];
}

async function gcpFindings(
  name: string,
  identity: GcpIdentity,
  known: Known | undefined,
  patient: Patient,
): Promise<readonly Finding[]> {
  const fromAws = identity.from === 'aws-signature' || identity.from === 'aws-token';
  if (fromAws && known === undefined)
    return [found('google-sts', 'skip', 'not reached: there is no AWS identity', { about: name })];
  const findings: Finding[] = [];
  if (known !== undefined && fromAws) findings.push(expectationFinding(name, identity, known.caller));
  findings.push(...(await predictedIdentity(name, identity, known?.caller)));
  if (findings.some(({ verdict }) => verdict === 'fail')) {
    return [...findings, found('google-sts', 'skip', 'not reached: nothing was sent to Google', { about: name })];
  }
  if (known !== undefined) findings.push(...selfCheck(name, identity, known, patient.runtime.clock.now()));
  const selfChecked = findings.some(({ step }) => step === 'subject-token');
  const chain = await chainFindings(name, identity, patient);
  const repeated = ({ step, verdict }: Finding): boolean =>
    verdict === 'pass' && (step === 'aws-identity' || (step === 'subject-token' && selfChecked));
  return [...findings, ...chain.filter((finding) => !repeated(finding))];
}

/** Steps 8 to 10: each source and sink by its own check, with the binding that is missing where one is. */
async function endpointFindings(
  { job, pipeline }: OpenJob,
  gcp: readonly (readonly [string, GcpIdentity])[],
  signal: AbortSignal,
  before: readonly Finding[],
): Promise<readonly Finding[]> {
  const broken = new Set(before.filter(({ verdict }) => verdict === 'fail').map(({ about }) => about));
  const findings: Finding[] = [];
  for (const kind of ['source', 'sink'] as const) {
    const configured = kind === 'source' ? pipeline.sources : pipeline.sinks;
    for (const [index, endpoint] of (kind === 'source' ? job.sources : job.sinks).entries()) {
      const about = endpoint.location;
      const { plugin, config } = configured[index] ?? {};
      const grants = plugin?.grants?.(config ?? {}) ?? [];
      const identity = grants[0]?.identity;
      if (identity !== undefined && broken.has(identity)) {
        findings.push(found(kind, 'skip', `not reached: identity ${identity} does not work`, { about }));
      } else if (endpoint.check === undefined) {
        findings.push(found(kind, 'skip', `plugin ${plugin?.name ?? ''} has no check`, { about }));
      } else {
        for (const check of await endpoint.check({ signal }).catch(thrownAsCheck))
          findings.push(ofCheck(kind, check, about, grants, gcp));
      }
    }
  }
  return findings;
}

/** A check that threw instead of telling. */
function thrownAsCheck(thrown: unknown): readonly Check[] {
  const { code, message, hint } = asBrokerError(thrown);
  if (code === 'stopped') throw thrown;
  return [{ name: 'check', verdict: 'fail', detail: message, hint, code }];
}

function ofCheck(
  step: 'source' | 'sink',
  { name, verdict, detail, hint, code, id }: Check,
  about: string,
  grants: readonly Grant[],
  gcp: readonly (readonly [string, GcpIdentity])[],
): Finding {
  const known = id ?? (verdict === 'fail' ? failureSaid(detail, step) : undefined);
  const missing = verdict === 'fail' && /HTTP 403|permission_denied|missing on/.test(`${code} ${detail}`);
  const fix = (missing ? bindingFor(grants, gcp) : undefined) ?? hint;
  const more = {
    about,
    ...(fix === undefined ? {} : { fix }),
    ...(verdict === 'pass' ? {} : { id: known ?? code ?? 'permission_denied' }),
  };
  return found(step, verdict, `${name}: ${detail}`, more);
}

/** The very line that grants what is missing. */
function bindingFor(grants: readonly Grant[], gcp: readonly (readonly [string, GcpIdentity])[]): string | undefined {
  const grant = grants.find((one) => one.cloud === 'gcp');
  const identity = gcp.find(([name]) => name === grant?.identity)?.[1];
  if (grant === undefined || identity === undefined) return undefined;
  const { serviceAccount } = identity;
  const member = serviceAccount === undefined ? factsOf(identity).member : `serviceAccount:${serviceAccount}`;
  return `gcloud storage buckets add-iam-policy-binding gs://${grant.on.bucket} --role=${grant.role} --member="${member ?? 'PRINCIPAL'}"`;
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
  const grants = [...open.pipeline.sources, ...open.pipeline.sinks].flatMap(
    ({ plugin, config }) => plugin.grants?.(config) ?? [],
  );
  return byGcp || byAws || grants.some((grant) => grant.cloud === 'aws' && grant.identity === undefined);
}

function processBroker(runtime: AuthRuntime, log: StepLog): IdentityBroker {
  const cache = new CredentialCache(() => runtime.clock.local());
  return new IdentityBroker({ pipeline: 'doctor', identities: {}, runtime, cache, observe: log.observe });
}
