import type { AwsCredentials, CredentialBroker, CredentialProvider, GcpAccessToken } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { type RetryPolicy, retry } from '../api/retry.ts';
import { formatDuration } from '../api/text.ts';
import type { IdentitySpec } from '../pipeline/spec.ts';
import { type AwsChain, assumedRole, callerIdentity, expiringAws } from './aws.ts';
import { CachedCredential, type Expiring } from './cached.ts';
import { exchangeToken, federationScopes, impersonate } from './google.ts';
import type { AuthEndpoints, AuthObserver } from './steps.ts';
import { awsSubjectToken } from './subject-token.ts';

type GcpIdentity = Extract<IdentitySpec, { kind: 'gcp' }>;

const TOKEN_RETRY: RetryPolicy = { attempts: 4, baseDelayMs: 200, maxDelayMs: 5000 };
/** AWS credentials that end sooner would expire while Google replays the signed request. */
const AWS_MIN_TTL_MS = 60_000;
const AMBIENT = '';

export interface BrokerOptions {
  readonly pipeline: string;
  readonly identities: Readonly<Record<string, IdentitySpec>>;
  /** The AWS identity of the process, made once for all pipelines in it. */
  readonly ambient: AwsChain;
  readonly region: string | undefined;
  readonly endpoints: AuthEndpoints;
  readonly now: () => number;
  readonly observe?: AuthObserver | undefined;
}

/** Turns the identities of one pipeline into credentials; each is fetched once and shared. */
export class IdentityBroker implements CredentialBroker {
  readonly #options: BrokerOptions;
  readonly #aws = new Map<string, CachedCredential<AwsCredentials>>();
  readonly #gcp = new Map<string, CachedCredential<GcpAccessToken>>();

  constructor(options: BrokerOptions) {
    this.#options = options;
  }

  get awsRegion(): string | undefined {
    return this.#options.region;
  }

  aws(name: string | undefined): CredentialProvider<AwsCredentials> {
    const identity = name === undefined ? undefined : this.#identity(name);
    // An identity without a role is the ambient one: one credential, fetched once.
    const key = name === undefined || (identity?.kind === 'aws' && identity.roleArn === undefined) ? AMBIENT : name;
    return getOrMake(this.#aws, key, () => {
      const chain = this.#awsChain(name);
      return new CachedCredential(async () => {
        const credentials = await patiently(chain);
        this.#observe(
          'aws-credentials',
          `${credentials.accessKeyId.slice(0, 4)}…, ${left(credentials.expiration, this.#options.now())}`,
        );
        return expiringAws(credentials);
      }, this.#options.now);
    });
  }

  gcp(name: string, scopes: readonly string[]): CredentialProvider<GcpAccessToken> | undefined {
    const identity = this.#identity(name);
    if (identity.kind === 'anonymous') return undefined;
    if (identity.kind !== 'gcp') throw new BrokerError('invalid_config', `identity "${name}" is not of kind gcp`);
    const key = JSON.stringify([name, [...scopes].sort()]);
    return getOrMake(
      this.#gcp,
      key,
      () => new CachedCredential((signal) => this.#federate(identity, scopes, signal), this.#options.now),
    );
  }

  #identity(name: string): IdentitySpec {
    const { identities } = this.#options;
    const identity = Object.hasOwn(identities, name) ? identities[name] : undefined;
    if (identity === undefined) throw new BrokerError('invalid_config', `there is no identity "${name}"`);
    return identity;
  }

  #awsChain(name: string | undefined): AwsChain {
    const { ambient, endpoints, pipeline } = this.#options;
    if (name === undefined) return ambient;
    const identity = this.#identity(name);
    if (identity.kind !== 'aws') throw new BrokerError('invalid_config', `identity "${name}" is not of kind aws`);
    if (identity.roleArn === undefined) return ambient;
    const { roleArn, externalId } = identity;
    const master = this.aws(undefined);
    return async () => {
      const region = this.#region(identity.region);
      const sessionName = `isthmus-${pipeline}`.slice(0, 64);
      const chain = assumedRole(() => master.get(), {
        roleArn,
        externalId,
        sessionName,
        region,
        endpoint: endpoints.awsSts,
      });
      const credentials = await chain();
      this.#observe('assume-role', roleArn);
      return credentials;
    };
  }

  async #federate(
    identity: GcpIdentity,
    scopes: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<Expiring<GcpAccessToken>> {
    return patiently(() => this.#federateOnce(identity, scopes, signal), signal);
  }

  async #federateOnce(
    identity: GcpIdentity,
    scopes: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<Expiring<GcpAccessToken>> {
    const { endpoints, now } = this.#options;
    const { audience, serviceAccount } = identity;
    const awsSpec = identity.aws === undefined ? undefined : this.#identity(identity.aws);
    const region = this.#region(awsSpec?.kind === 'aws' ? awsSpec.region : undefined);
    const credentials = await this.aws(identity.aws).get({ minTtlMs: AWS_MIN_TTL_MS });
    await this.#expected(identity, credentials, region, signal);
    const subjectToken = awsSubjectToken(audience, credentials, region, now());
    this.#observe('subject-token', `GetCallerIdentity signed for ${audience}`);
    const federated = await exchangeToken(
      endpoints.googleSts,
      { subjectToken, audience, scopes: federationScopes(serviceAccount, scopes) },
      { signal, now },
    );
    this.#observe('google-sts', `federated token, ${left(new Date(federated.expiresAt), now())}`);
    if (serviceAccount === undefined) return { value: federated, expiresAt: federated.expiresAt };
    const token = await impersonate(
      endpoints.iamCredentials,
      { token: federated.token, serviceAccount, scopes },
      { signal, now },
    );
    this.#observe(
      'impersonation',
      `${serviceAccount}, ${left(new Date(token.expiresAt), now())}, ${scopes.map(shortScope).join(' ')}`,
    );
    return { value: token, expiresAt: token.expiresAt };
  }

  /** Compares who we are with who we should be, before anything goes to Google. */
  async #expected(
    { expect }: GcpIdentity,
    credentials: AwsCredentials,
    region: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (expect === undefined) return;
    const { endpoints, now } = this.#options;
    const { account, arn } = await callerIdentity(credentials, region, endpoints.awsSts, { signal, now });
    const role = /:assumed-role\/([^/]+)\//.exec(arn)?.[1];
    const wrong =
      (expect.awsAccountId !== undefined && expect.awsAccountId !== account) ||
      (expect.roleName !== undefined && expect.roleName !== role);
    if (wrong) {
      const wanted = [expect.awsAccountId, expect.roleName].filter((part) => part !== undefined).join(' ');
      throw new BrokerError('wrong_identity', `running as ${arn}, expected ${wanted}`);
    }
    this.#observe('aws-identity', arn);
  }

  #region(own: string | undefined): string {
    const region = own ?? this.#options.region;
    if (region !== undefined) return region;
    throw new BrokerError('invalid_config', 'no AWS region is known', {
      hint: 'Set AWS_REGION, or region on the identity.',
    });
  }

  #observe(step: Parameters<AuthObserver>[0]['step'], detail: string): void {
    this.#options.observe?.({ step, detail });
  }
}

const patiently = <T>(attempt: () => Promise<T>, signal = new AbortController().signal): Promise<T> =>
  retry(attempt, { policy: TOKEN_RETRY, signal });

function getOrMake<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

const left = (expiration: Date | undefined, now: number): string =>
  expiration === undefined ? 'without an end' : `valid for ${formatDuration(expiration.getTime() - now)}`;

const shortScope = (scope: string): string => scope.replace('https://www.googleapis.com/auth/', '');
