import type {
  AwsCredentials,
  CredentialBroker,
  CredentialProvider,
  GcpAccessToken,
  GcpTokenRequest,
} from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { type RetryPolicy, retry } from '../api/retry.ts';
import type { IdentitySpec } from '../pipeline/spec.ts';
import {
  type AuthRuntime,
  type AwsIdentity,
  ambientCredentials,
  chainedRole,
  googleRole,
  mustHaveRole,
  type StepOptions,
  sessionNameOf,
} from './aws-identity.ts';
import type { CredentialCache, Expiring, Fetch, GetOptions } from './cached.ts';
import type { GcpIdentity } from './federated.ts';
import { googleIdToken, googleToken } from './gcp-identity.ts';
import { AWS_MIN_TTL_MS, type GcpChain } from './proof.ts';
import type { AuthObserver } from './steps.ts';

const TOKEN_RETRY: RetryPolicy = { attempts: 4, baseDelayMs: 200, maxDelayMs: 5000 };

export interface BrokerOptions {
  readonly pipeline: string;
  readonly identities: Readonly<Record<string, IdentitySpec>>;
  /** Shared by all pipelines of the process. */
  readonly runtime: AuthRuntime;
  /** Shared too: what two pipelines both need is fetched once. */
  readonly cache: CredentialCache;
  readonly observe?: AuthObserver | undefined;
}

/** Turns the identities of one pipeline into credentials; each is fetched once and shared. */
export class IdentityBroker implements CredentialBroker {
  readonly #options: BrokerOptions;
  readonly #asked = new Map<string, GcpTokenRequest[]>();

  constructor(options: BrokerOptions) {
    this.#options = options;
  }

  async awsRegion({ signal }: { readonly signal?: AbortSignal } = {}): Promise<string | undefined> {
    return (await this.#options.runtime.region(signal))?.name;
  }

  universeDomain(name: string): string {
    const identity = this.#identity(name);
    return identity.kind === 'gcp' ? identity.universeDomain : 'googleapis.com';
  }

  aws(name: string | undefined): CredentialProvider<AwsCredentials> {
    const identity: AwsIdentity = name === undefined ? { kind: 'aws' } : this.#aws(name);
    return this.#cached(['aws', this.#whole(identity)], (signal) => this.#session(name ?? '', identity, signal));
  }

  gcp(name: string, request: GcpTokenRequest): CredentialProvider<GcpAccessToken> | undefined {
    const identity = this.#identity(name);
    if (identity.kind === 'anonymous') return undefined;
    const chain = this.#chain(this.#gcp(name));
    const asked = this.#asked.get(name) ?? [];
    const same = JSON.stringify(request);
    if (!asked.some((one) => JSON.stringify(one) === same)) this.#asked.set(name, [...asked, request]);
    const wanted = {
      scopes: [...request.scopes].sort(),
      within: chain.identity.downscope ? request.within : undefined,
    };
    return this.#cached(['gcp', this.#whole(chain.identity), wanted], (signal) =>
      googleToken(chain, request, this.#steps(signal)),
    );
  }

  /** What plugins asked of each identity of kind gcp so far; asking touches no network. */
  get asked(): ReadonlyMap<string, readonly GcpTokenRequest[]> {
    return this.#asked;
  }

  /**
   * Begins to fetch what will be needed, all side by side: the steps of one identity do not wait for those of another.
   * Nothing is waited for; what fails is told to whoever asks.
   */
  warm(): void {
    const { identities } = this.#options;
    const roles = Object.keys(identities).filter((name) => identities[name]?.kind === 'aws');
    const providers = [
      ...roles.map((name) => this.aws(name)),
      ...[...this.#asked].flatMap(([name, requests]) => requests.map((request) => this.gcp(name, request))),
    ];
    for (const provider of providers) provider?.get().catch(() => undefined);
  }

  /** An OIDC ID token of an identity of kind gcp, made anew at each call. */
  async idToken(name: string, audience: string, signal: AbortSignal): Promise<string> {
    const chain = this.#chain(this.#gcp(name));
    return patiently(() => googleIdToken(chain, audience, this.#steps(signal)), signal);
  }

  async #session(name: string, identity: AwsIdentity, signal: AbortSignal): Promise<Expiring<AwsCredentials>> {
    const { pipeline, runtime } = this.#options;
    const steps = this.#steps(signal);
    if (identity.roleArn === undefined) return ambientCredentials(identity, runtime, steps);
    mustHaveRole(name, identity);
    const sessionName = sessionNameOf(pipeline, identity.sessionName);
    const { google, audience } = identity;
    if (google !== undefined && audience !== undefined) {
      // A new one each time: a token that was kept has expired when the session is renewed.
      const idToken = await googleIdToken(this.#chain(this.#gcp(google)), audience, steps);
      return googleRole({ ...identity, audience }, idToken, sessionName, runtime, steps);
    }
    const master = await this.#master(identity).get({ signal, minTtlMs: AWS_MIN_TTL_MS });
    return chainedRole(identity, master, sessionName, runtime, steps);
  }

  /** Whose credentials the role is assumed with: another identity's, or those of the process. */
  #master({ aws, require, profile }: AwsIdentity): CredentialProvider<AwsCredentials> {
    if (aws !== undefined) return this.aws(aws);
    const ambient: AwsIdentity = { kind: 'aws', ...(require && { require }), ...(profile && { profile }) };
    return this.#cached(['aws', ambient], (signal) => this.#session('', ambient, signal));
  }

  #chain(identity: GcpIdentity): GcpChain {
    const base = identity.aws === undefined ? undefined : this.#aws(identity.aws);
    const aws = this.aws(identity.aws);
    return { identity, aws: (options) => aws.get(options), region: base?.region, runtime: this.#options.runtime };
  }

  /** An identity with those that it names put in their place: all that its credentials depend on. */
  #whole(identity: IdentitySpec, depth = 0): unknown {
    if (depth > 8) throw new BrokerError('invalid_config', 'identities refer to each other in a circle');
    const named =
      'aws' in identity && identity.aws !== undefined
        ? { aws: this.#whole(this.#identity(identity.aws), depth + 1) }
        : {};
    const google =
      'google' in identity && identity.google !== undefined
        ? { google: this.#whole(this.#identity(identity.google), depth + 1) }
        : {};
    // The session is named after the pipeline, so two pipelines do not share one.
    const session = 'roleArn' in identity && identity.roleArn !== undefined ? { pipeline: this.#options.pipeline } : {};
    return { ...identity, ...named, ...google, ...session };
  }

  #cached<T>(key: unknown, fetch: Fetch<T>): CredentialProvider<T> {
    const entry = this.#options.cache.entry<T>(JSON.stringify(key));
    return { get: (options?: GetOptions) => entry.get((signal) => patiently(() => fetch(signal), signal), options) };
  }

  #steps(signal: AbortSignal): StepOptions {
    return { signal, observe: (step) => this.#options.observe?.(step) };
  }

  #identity(name: string): IdentitySpec {
    const { identities } = this.#options;
    const identity = Object.hasOwn(identities, name) ? identities[name] : undefined;
    if (identity === undefined) throw new BrokerError('invalid_config', `there is no identity "${name}"`);
    return identity;
  }

  #aws(name: string): AwsIdentity {
    const identity = this.#identity(name);
    if (identity.kind !== 'aws') throw new BrokerError('invalid_config', `identity "${name}" is not of kind aws`);
    return identity;
  }

  #gcp(name: string): GcpIdentity {
    const identity = this.#identity(name);
    if (identity.kind !== 'gcp') throw new BrokerError('invalid_config', `identity "${name}" is not of kind gcp`);
    return identity;
  }
}

const patiently = <T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> =>
  retry(attempt, { policy: TOKEN_RETRY, signal, patient: true });
