import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import type { Facts } from './failures/failure.ts';
import { authFailure, type FailureId, failureSaid } from './failures/table.ts';
import { type Answer, type CallOptions, post } from './http.ts';
import { signRequest } from './sigv4.ts';

/** The regional host of AWS STS. Source: https://docs.aws.amazon.com/general/latest/gr/sts.html */
export const awsStsHost = (region: string): string => `sts.${region}.${dnsSuffix(region)}`;

const dnsSuffix = (region: string): string =>
  region.startsWith('cn-') ? 'amazonaws.com.cn' : region.startsWith('eusc-') ? 'amazonaws.eu' : 'amazonaws.com';

export interface StsPlace {
  readonly region: string;
  /** `undefined`: the regional host. */
  readonly endpoint: string | undefined;
}

type Parameters = Readonly<Record<string, string | undefined>>;
type Element = (name: string) => string;

export interface CallerIdentity {
  readonly account: string;
  readonly arn: string;
  /** `AROA…:session` for a role: what `assertion.userid` is to Google. */
  readonly userId: string;
}

/**
 * Who AWS says these credentials are. Needs no permission and cannot be denied.
 * Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
 */
export async function callerIdentity(
  credentials: AwsCredentials,
  place: StsPlace,
  options: CallOptions,
): Promise<CallerIdentity> {
  const element = await call('GetCallerIdentity', {}, credentials, place, options, {});
  const arn = needed(element, 'Arn');
  return { account: needed(element, 'Account'), arn, userId: needed(element, 'UserId') };
}

export interface RoleRequest {
  readonly roleArn: string;
  readonly sessionName: string;
  readonly durationSeconds?: number | undefined;
}

export interface ChainedRole extends RoleRequest {
  readonly externalId?: string | undefined;
  readonly sessionTags?: Readonly<Record<string, string>> | undefined;
}

/** Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
export async function assumeRole(
  credentials: AwsCredentials,
  role: ChainedRole,
  place: StsPlace,
  options: CallOptions,
): Promise<AwsCredentials> {
  const tags = Object.entries(role.sessionTags ?? {}).flatMap(([key, value], index) => [
    [`Tags.member.${index + 1}.Key`, key],
    [`Tags.member.${index + 1}.Value`, value],
  ]);
  const parameters = { ...roleParameters(role), ExternalId: role.externalId, ...Object.fromEntries(tags) };
  const facts = { roleArn: role.roleArn };
  return sessionOf(await call('AssumeRole', parameters, credentials, place, options, facts), options);
}

export interface WebIdentityRole extends RoleRequest {
  readonly idToken: string;
  /** For the instructions of a refusal. */
  readonly facts: Facts;
}

/**
 * Trades an OIDC token for a session of a role; the request is not signed.
 * Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
 */
export async function assumeRoleWithWebIdentity(
  role: WebIdentityRole,
  place: StsPlace,
  options: CallOptions,
): Promise<AwsCredentials> {
  const parameters = { ...roleParameters(role), WebIdentityToken: role.idToken };
  const facts = { ...role.facts, roleArn: role.roleArn };
  const element = await call('AssumeRoleWithWebIdentity', parameters, undefined, place, options, facts);
  return sessionOf(element, options);
}

/**
 * Asks AWS for a JWT that says who we are, for one audience.
 *
 * Google takes RS256 but not ES384, the other algorithm that AWS has.
 * Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
 */
export async function webIdentityToken(
  credentials: AwsCredentials,
  audience: string,
  place: StsPlace,
  facts: Facts,
  options: CallOptions,
): Promise<string> {
  // AWS refuses a token that would outlive the session that asks for it.
  const leftMs = (credentials.expiration?.getTime() ?? Number.POSITIVE_INFINITY) - options.clock.local();
  const seconds = Math.max(60, Math.min(300, Math.floor(leftMs / 1000)));
  const parameters = { 'Audience.member.1': audience, SigningAlgorithm: 'RS256', DurationSeconds: String(seconds) };
  return needed(await call('GetWebIdentityToken', parameters, credentials, place, options, facts), 'WebIdentityToken');
}

const roleParameters = ({ roleArn, sessionName, durationSeconds }: RoleRequest): Parameters => ({
  RoleArn: roleArn,
  RoleSessionName: sessionName,
  DurationSeconds: durationSeconds?.toString(),
});

function sessionOf(element: Element, { clock }: CallOptions): AwsCredentials {
  const expiration = Date.parse(needed(element, 'Expiration'));
  if (!(expiration > clock.now()))
    throw new BrokerError('bad_response', 'AWS STS answered with a session that has ended');
  return {
    accessKeyId: needed(element, 'AccessKeyId'),
    secretAccessKey: needed(element, 'SecretAccessKey'),
    sessionToken: needed(element, 'SessionToken'),
    expiration: new Date(clock.toLocal(expiration)),
  };
}

/** One action of the query protocol. A signature refused for its age is made again once the clock was corrected. */
async function call(
  action: string,
  parameters: Parameters,
  credentials: AwsCredentials | undefined,
  { region, endpoint }: StsPlace,
  options: CallOptions,
  facts: Facts,
): Promise<Element> {
  const url = new URL(endpoint ?? `https://${awsStsHost(region)}`);
  const given = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const body = new URLSearchParams([['Action', action], ['Version', '2011-06-15'], ...given]).toString();
  const headers = { host: url.host, 'content-type': 'application/x-www-form-urlencoded' };
  const send = (): Promise<Answer> => {
    const scope = { region, service: 'sts', now: options.clock.now() };
    const signed: Readonly<Record<string, string>> =
      credentials === undefined ? headers : signRequest({ method: 'POST', url, headers, body }, credentials, scope);
    const secrets = [signed.authorization, credentials?.sessionToken, parameters.WebIdentityToken];
    return post(url.href, { headers: signed, body, secrets: secrets.filter((one) => one !== undefined) }, options);
  };
  let answer = await send();
  if (answer.status !== 200 && answer.clockMoved && credentials !== undefined) answer = await send();
  const element: Element = (name) =>
    entities(new RegExp(`<${name}>([^<]{1,16384})</${name}>`).exec(answer.text)?.[1] ?? '');
  if (answer.status !== 200) throw refusal(action, answer, element, { ...facts, region });
  return element;
}

const BY_DEFAULT: Readonly<Record<string, FailureId>> = {
  AssumeRole: 'AWS_ASSUME_DENIED',
  AssumeRoleWithWebIdentity: 'WEB_DENIED',
  GetWebIdentityToken: 'AWS_TOKEN_DENIED',
};

function refusal(action: string, answer: Answer, element: Element, facts: Facts): BrokerError {
  const { status, retryAfterMs } = answer;
  const code = element('Code');
  const request = element('RequestId');
  const what = `AWS STS ${action}: HTTP ${status} ${code}: ${safeText(answer.hide(element('Message')))}${request === '' ? '' : ` (request ${safeText(request)})`}`;
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 429 || /Throttl|RequestLimitExceeded/.test(code)) return new BrokerError('throttled', what, options);
  if (status >= 500 || /IDPCommunicationError/.test(code)) return new BrokerError('unavailable', what, options);
  if (code === 'ValidationError') {
    const hint = 'Correct duration, sessionName or sessionTags of the identity: AWS says above what it does not take.';
    return new BrokerError('invalid_config', what, { hint });
  }
  const steps = action === 'AssumeRoleWithWebIdentity' ? (['google-to-aws', 'aws-identity'] as const) : AWS_STEPS;
  const clock = /Signature (?:expired|not yet current)/i.test(what) ? 'STS_CLOCK' : undefined;
  const id = clock ?? failureSaid(what, ...steps) ?? BY_DEFAULT[action] ?? 'AWS_CREDENTIALS_REFUSED';
  // AWS says who it refused.
  const arn = /User: (arn:aws[a-z-]*:[\w:/+=,.@-]+) is not authorized/.exec(what)?.[1];
  return authFailure(id, what, { ...facts, ...(arn && { arn }) }, options);
}

const AWS_STEPS = ['subject-token', 'aws-identity'] as const;

function needed(element: Element, name: string): string {
  const value = element(name);
  if (value === '') throw new BrokerError('bad_response', `AWS STS answered without ${name}`);
  return value;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

const entities = (text: string): string =>
  text.replace(/&(amp|lt|gt|quot|apos);/g, (whole, name: string) => ENTITIES[name] ?? whole);
