import { readFile } from 'node:fs/promises';
import { BrokerError, NETWORK_ERRORS, systemErrorCode } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { fromVariables, withDeadline } from './aws-variables.ts';
import type { FailureId } from './failures/table.ts';
import { failureSaid } from './failures/table.ts';
import { linkLocal } from './http.ts';

/** What one source of AWS credentials has to say. */
export interface SourceFinding {
  readonly source: 'environment' | 'profile' | 'web identity' | 'container' | 'EC2 metadata';
  /** `gave`: credentials were had. `absent`: nothing here points at it. `failed`: it is set up, and does not work. */
  readonly outcome: 'gave' | 'absent' | 'failed';
  /** For people; holds no secret. */
  readonly why: string;
  readonly id?: FailureId;
  /** The chain of the SDK ends here: it asks no source after one that fails in this way. */
  readonly ends?: true;
  /** The connection failed: trying again may mend it. */
  readonly passing?: true;
}

type Probe = (environment: Environment, signal: AbortSignal) => Promise<SourceFinding>;

/**
 * Asks each source of the AWS SDK's chain by itself and in its order, up to the first that gives credentials: the chain
 * keeps the reasons of the others to itself.
 *
 * Nothing that is had is kept. @param environment must be that of the process: the SDK reads it too.
 */
export async function probeSources(environment: Environment, signal: AbortSignal): Promise<readonly SourceFinding[]> {
  const findings: SourceFinding[] = [];
  for (const probe of PROBES) {
    const finding = await probe(environment, signal);
    findings.push(finding);
    if (finding.outcome === 'gave' || finding.ends) break;
  }
  return findings;
}

const environmentProbe: Probe = async (environment) => {
  const found = (outcome: SourceFinding['outcome'], why: string): SourceFinding => ({
    source: 'environment',
    outcome,
    why,
  });
  if (environment.AWS_PROFILE)
    return found('absent', `skipped, as AWS_PROFILE=${safeText(environment.AWS_PROFILE)} is set`);
  if (fromVariables(environment) !== undefined) return found('gave', 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY');
  const missing = environment.AWS_ACCESS_KEY_ID ? 'AWS_SECRET_ACCESS_KEY' : 'AWS_ACCESS_KEY_ID';
  return found('absent', `${missing} is not set`);
};

/** Static keys, SSO, `aws login`, assumed roles and credential processes: all that a profile can name. */
const profileProbe: Probe = (environment, signal) =>
  asked('profile', signal, async () => {
    const { fromIni } = await import('@aws-sdk/credential-providers');
    const profile = environment.AWS_PROFILE;
    return fromIni({ logger: SILENT, ...(profile ? { profile } : {}) })();
  }).then((finding) => {
    const default_ = !environment.AWS_PROFILE && finding.id === 'AWS_PROFILE_MISSING';
    return default_ ? { source: 'profile', outcome: 'absent', why: 'there is no profile "default"' } : finding;
  });

const webIdentityProbe: Probe = async (environment, signal) => {
  const { AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: role } = environment;
  if (!file && !role) {
    const why = 'AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN are not set';
    return { source: 'web identity', outcome: 'absent', why };
  }
  const wrong = file === undefined ? undefined : await wrongToken(file);
  if (wrong !== undefined)
    return { source: 'web identity', outcome: 'failed', why: wrong, id: 'AWS_WEB_IDENTITY_FILE' };
  const finding = await asked('web identity', signal, async () => {
    const { fromTokenFile } = await import('@aws-sdk/credential-providers');
    return fromTokenFile({ logger: SILENT })();
  });
  if (finding.outcome !== 'failed') return finding;
  const denied = /AssumeRoleWithWebIdentity/.test(finding.why);
  // The token is there: what failed is the way to AWS.
  if (finding.passing) return { ...finding, id: 'AWS_STS_UNREACHABLE' };
  return { ...finding, id: denied ? 'AWS_WEB_IDENTITY_DENIED' : (finding.id ?? 'AWS_WEB_IDENTITY_FILE') };
};

/** What is wrong with the token of a pod, by looking at it; never the token itself. */
async function wrongToken(file: string): Promise<string | undefined> {
  let token: string;
  try {
    token = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    return `${file}: ${systemErrorCode(error) ?? 'it cannot be read'}`;
  }
  if (token === '') return `${file} is empty`;
  const [, payload = ''] = token.split('.');
  try {
    const { exp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { readonly exp?: unknown };
    if (typeof exp === 'number' && exp * 1000 < Date.now())
      return `the token in ${file} has expired: exp is ${new Date(exp * 1000).toISOString()}`;
    return undefined;
  } catch {
    return `${file} does not hold a token (JWT)`;
  }
}

const containerProbe: Probe = async (environment, signal) => {
  const { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: path, AWS_CONTAINER_CREDENTIALS_FULL_URI: uri } = environment;
  if (!path && !uri) {
    const why = 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and …_FULL_URI are not set';
    return { source: 'container', outcome: 'absent', why };
  }
  const finding = await asked('container', signal, async () => {
    const { fromHttp } = await import('@aws-sdk/credential-providers');
    return fromHttp({ logger: SILENT, maxRetries: 0 })();
  });
  if (finding.outcome !== 'failed') return finding;
  const silent = /ECONNREFUSED|EHOSTUNREACH|ETIMEDOUT|TimeoutError/.test(finding.why);
  const agent = /169\.254\.170\.23|fd00:ec2::23/.test(uri ?? '') || environment.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE;
  // Where a container endpoint is named, the SDK never asks EC2 metadata.
  return { ...finding, id: silent && agent ? 'AWS_POD_IDENTITY_HOST' : 'AWS_CONTAINER_REFUSED', ends: true };
};

/** Only whether IMDSv2 answers; credentials are not fetched. */
const instanceProbe: Probe = async (environment, signal) => {
  const found = (outcome: SourceFinding['outcome'], why: string, id?: FailureId): SourceFinding => ({
    source: 'EC2 metadata',
    outcome,
    why,
    ...(id === undefined ? {} : { id }),
  });
  const disabled = environment.AWS_EC2_METADATA_DISABLED;
  if (disabled && disabled !== 'false') return found('absent', 'AWS_EC2_METADATA_DISABLED is set', 'AWS_IMDS_DISABLED');
  const base = environment.AWS_EC2_METADATA_SERVICE_ENDPOINT || 'http://169.254.169.254';
  try {
    const ttl = { 'x-aws-ec2-metadata-token-ttl-seconds': '60' };
    const deadlineMs = PROBE_MS;
    const token = await linkLocal(`${base}/latest/api/token`, { method: 'PUT', headers: ttl, signal, deadlineMs });
    if (token.status !== 200) return found('failed', `IMDSv2 answered HTTP ${token.status}`, 'AWS_IMDS_UNAUTHORIZED');
    const headers = { 'x-aws-ec2-metadata-token': token.text };
    const role = await linkLocal(`${base}/latest/meta-data/iam/security-credentials/`, { headers, signal, deadlineMs });
    if (role.status !== 200 || role.text.trim() === '')
      return found('failed', `the instance has no role (HTTP ${role.status})`, 'AWS_IMDS_UNAUTHORIZED');
    return found('gave', `IMDSv2 answers, role ${safeText(role.text.trim())}`);
  } catch (error) {
    if (!(error instanceof BrokerError) || error.code === 'stopped') throw error;
    // On a machine that is no EC2 instance nobody listens there; silence is what a hop limit of 1 looks like.
    return found(error.code === 'timeout' ? 'failed' : 'absent', error.message, 'AWS_IMDS_SILENT');
  }
};

const PROBES: readonly Probe[] = [environmentProbe, profileProbe, webIdentityProbe, containerProbe, instanceProbe];

/** As long as the SDK waits. */
const PROBE_MS = 1000;

const SILENT = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

async function asked(
  source: SourceFinding['source'],
  signal: AbortSignal,
  load: () => Promise<unknown>,
): Promise<SourceFinding> {
  try {
    await withDeadline(load(), signal);
    return { source, outcome: 'gave', why: 'gave credentials' };
  } catch (error) {
    if (error instanceof BrokerError && error.code === 'stopped') throw error;
    const { name = 'Error', message = '' } = error instanceof Error ? error : {};
    const process_ = source === 'profile' && /^Command failed/.test(message) ? 'AWS_PROCESS_FAILED' : undefined;
    const id = process_ ?? failureSaid(`${name}: ${message}`, 'aws-source');
    const ends = (error as { readonly tryNextLink?: unknown }).tryNextLink === true ? {} : { ends: true as const };
    const system = systemErrorCode(error);
    const passing = system !== undefined && NETWORK_ERRORS.has(system) ? { passing: true as const } : {};
    return { source, outcome: 'failed', why: shown(name, message), ...(id && { id }), ...ends, ...passing };
  }
}

/** The SDK's own sentences. What else an error says may hold a command line with a password, or what it printed. */
const SENTENCES: readonly RegExp[] = [
  /The SSO session (?:token )?associated with [\w= -]{1,80} (?:has expired|is invalid|was not found or is invalid)/,
  /Token is expired/,
  /Value not present for '\w+' in SSO Token/,
  /Session token not found or invalid/,
  /Could not resolve credentials using profile: \[[\w .@-]{1,64}\]/,
  /Profile '?[\w.@-]{1,64}'? (?:could not be found in shared credentials file|was not found|did not contain credential_process|is not configured with SSO credentials)/,
  /credential_process did not return Version 1|credential_process returned (?:invalid|expired) credentials|credential_process returned invalid JSON/,
  /Sso session '[\w.@-]{1,64}' could not be found/,
  /Server responded with status: \d{3}/,
  /(?:connect )?E[A-Z]{4,12}(?: [\d.:[\]a-f]{2,45})?/,
  /Web identity configuration not specified/,
  /not a valid container metadata service hostname/,
  /Not authorized to perform sts:AssumeRoleWithWebIdentity/,
  /no such file or directory/,
];

function shown(name: string, message: string): string {
  const sentence = SENTENCES.map((one) => one.exec(message)?.[0]).find((one) => one !== undefined);
  if (sentence !== undefined) return sentence;
  if (/^Command failed/.test(message))
    return 'the credential_process ended with an error; what it printed is not shown here';
  return `${safeText(name)}; the rest of the message may hold secrets and is not shown`;
}
