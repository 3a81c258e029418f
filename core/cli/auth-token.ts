import { readFile } from 'node:fs/promises';
import { BrokerError } from '../api/errors.ts';
import { formatDuration } from '../api/text.ts';
import type { AuthRuntime } from '../auth/aws-identity.ts';
import { stsPlace } from '../auth/aws-identity.ts';
import { type CallerIdentity, callerIdentity } from '../auth/aws-sts.ts';
import type { IdentityBroker } from '../auth/broker.ts';
import { federatedName, type GcpIdentity } from '../auth/federated.ts';
import { CLOUD_PLATFORM } from '../auth/google-sts.ts';
import { jwtClaims } from '../auth/jwt.ts';
import { principal, providerName } from '../auth/principal.ts';
import type { AuthStep } from '../auth/steps.ts';
import type { Pipeline } from '../pipeline/validate.ts';
import type { JobFactory } from '../runtime/job.ts';
import { processRuntime } from '../runtime/process.ts';
import { EXIT, type Output } from './output.ts';
import { loggerFor } from './run.ts';

export interface TokenFlags {
  readonly identity?: string;
  readonly scope?: readonly string[];
  readonly audience?: string;
  readonly printAccessToken?: boolean;
  readonly printIdToken?: boolean;
  readonly printCredentials?: boolean;
  readonly json?: boolean;
}

/**
 * `isthmus auth token`: who an identity is. Prints a token only where its flag asks for it, and then nothing else, so
 * that it can stand in a command line.
 */
export async function tokenCommand(
  file: string,
  flags: TokenFlags,
  jobs: JobFactory,
  runtime: AuthRuntime,
  output: Output,
): Promise<number> {
  const log = loggerFor({}, output);
  using stopping = processRuntime(log);
  const signal = AbortSignal.any([stopping.signal, stopping.stop]);
  const steps: AuthStep[] = [];
  await using open = await jobs.open(file, { log, now: Date.now, onAuth: (step) => steps.push(step) });
  const { credentials: broker, pipeline } = open;
  const [name, identity] = chosen(pipeline, flags.identity);
  refuseFlags(identity.kind, flags);
  if (identity.kind === 'aws') return awsToken(name, flags, broker, runtime, signal, output);
  if (flags.audience !== undefined) {
    const token = await broker.idToken(name, flags.audience, signal);
    if (flags.printIdToken === true) output.out(token);
    else show(name, steps, { claims: jwtClaims(token) ?? {} }, flags, output);
    return EXIT.complete;
  }
  const request = broker.asked.get(name)?.[0];
  const scopes = flags.scope ?? request?.scopes ?? [CLOUD_PLATFORM];
  const token = await broker.gcp(name, { ...request, scopes })?.get({ signal });
  if (flags.printAccessToken === true) output.out(token?.token ?? '');
  else {
    const validFor = formatDuration((token?.expiresAt ?? 0) - Date.now());
    const principal = await principalOf(identity, broker, runtime, signal);
    show(name, steps, { ...principal, scopes, validFor }, flags, output);
  }
  return EXIT.complete;
}

/** Flags that say two things, or one that this identity does not have. */
function refuseFlags(kind: 'gcp' | 'aws', flags: TokenFlags): void {
  const { printAccessToken, printIdToken, printCredentials, audience, scope, json } = flags;
  const prints = [printAccessToken, printIdToken, printCredentials].filter((one) => one === true).length;
  if (prints > 1) throw wrongFlag('more than one --print flag', 'Print one thing at a time.');
  if (prints === 1 && json === true)
    throw wrongFlag('--json never holds a token', 'Leave out --json or the --print flag.');
  if (printIdToken === true && audience === undefined)
    throw wrongFlag('--print-id-token needs --audience', 'Name the audience of the token.');
  if (printAccessToken === true && audience !== undefined)
    throw wrongFlag('an access token has no audience', 'Use --print-id-token with --audience.');
  if (kind === 'gcp' && printCredentials === true)
    throw wrongFlag(
      '--print-credentials is for identities of kind aws',
      'Use --print-access-token or --print-id-token.',
    );
  const google = [printAccessToken, printIdToken, audience, scope].some((one) => one !== undefined);
  if (kind === 'aws' && google)
    throw wrongFlag(
      'the identity is of kind aws',
      'Use --print-credentials, in the form of an AWS credential_process.',
    );
}

/** As whom Google knows us in the end. */
async function principalOf(identity: GcpIdentity, broker: IdentityBroker, runtime: AuthRuntime, signal: AbortSignal) {
  const { serviceAccount, from, tokenFile, aws } = identity;
  if (serviceAccount !== undefined) return { principal: `serviceAccount:${serviceAccount}` };
  if (from === 'metadata') return {};
  const sub =
    from === 'kubernetes-token' ? jwtClaims(await readFile(tokenFile ?? '', 'utf8').catch(() => ''))?.sub : undefined;
  const who = async (): Promise<CallerIdentity> => {
    const credentials = await broker.aws(aws).get({ signal });
    return callerIdentity(credentials, await stsPlace(undefined, runtime, signal), { signal, clock: runtime.clock });
  };
  const caller = from === 'kubernetes-token' ? undefined : await who();
  const { subject, member } = federatedName(identity, { caller, sub });
  const provider = providerName(identity.audience ?? '');
  const principal_ = provider && subject ? principal(provider, subject) : member;
  return {
    ...(caller && { aws: caller.arn }),
    ...(principal_ && { principal: principal_ }),
    ...(member && { grantTo: member }),
  };
}

function chosen(pipeline: Pipeline, name: string | undefined): [string, GcpIdentity | { readonly kind: 'aws' }] {
  const known = Object.entries(pipeline.identities).filter(([, { kind }]) => kind !== 'anonymous');
  const found =
    name === undefined
      ? (known.find(([, { kind }]) => kind === 'gcp') ?? known[0])
      : known.find(([one]) => one === name);
  if (found !== undefined) return found as [string, GcpIdentity | { readonly kind: 'aws' }];
  throw wrongFlag(
    name === undefined ? 'the pipeline has no identity' : `there is no identity "${name}" with a token`,
    known.length === 0
      ? 'Add one under identities.'
      : `Choose with --identity: ${known.map(([one]) => one).join(', ')}.`,
  );
}

async function awsToken(
  name: string,
  flags: TokenFlags,
  broker: IdentityBroker,
  runtime: AuthRuntime,
  signal: AbortSignal,
  output: Output,
): Promise<number> {
  const credentials = await broker.aws(name).get({ signal });
  if (flags.printCredentials === true) {
    const {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      sessionToken: SessionToken,
      expiration,
    } = credentials;
    // Source: https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sourcing-external.html
    output.out(
      JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey, SessionToken, Expiration: expiration?.toISOString() }),
    );
    return EXIT.complete;
  }
  const caller = await callerIdentity(credentials, await stsPlace(undefined, runtime, signal), {
    signal,
    clock: runtime.clock,
  });
  show(
    name,
    [],
    { ...caller, ...(credentials.expiration && { expiration: credentials.expiration.toISOString() }) },
    flags,
    output,
  );
  return EXIT.complete;
}

function show(name: string, steps: readonly AuthStep[], facts: object, { json }: TokenFlags, output: Output): void {
  if (json === true) {
    output.out(JSON.stringify({ identity: name, steps, ...facts }));
    return;
  }
  output.out(`identity ${name}`);
  for (const { step, detail } of steps) output.out(`  ${step.padEnd(16)} ${detail}`);
  for (const [key, value] of Object.entries(facts))
    output.out(`  ${key.padEnd(16)} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
}

const wrongFlag = (message: string, hint: string): BrokerError => new BrokerError('invalid_config', message, { hint });
