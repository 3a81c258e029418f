export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** When they end; absent for credentials without an end. */
  readonly expiration?: Date;
}

export interface GcpAccessToken {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** The project that pays for API calls: send it as `x-goog-user-project`, but never to a token service. */
  readonly quotaProject?: string;
}

/** A part of Cloud Storage that a token may be limited to. */
export interface StorageScope {
  readonly bucket: string;
  /** Object names begin with this; empty for the whole bucket. */
  readonly prefix: string;
  /** `prefix` is the name of one object: nothing else, and no listing. */
  readonly exact?: true;
  /** Objects there are written or deleted, too. */
  readonly deletes?: true;
}

export interface GcpTokenRequest {
  /** OAuth scopes, the narrowest that will do. Source: https://developers.google.com/identity/protocols/oauth2/scopes */
  readonly scopes: readonly string[];
  /** All that the token is for; an identity with `downscope` gets a token that is good for nothing else. */
  readonly within?: readonly StorageScope[];
}

/** Hold the provider, never the value: it renews before the value ends, and many callers cause one request. */
export interface CredentialProvider<T> {
  /** @param options.minTtlMs the answer is valid for at least this long; `fresh` ignores what is cached. */
  get(options?: { readonly signal?: AbortSignal; readonly minTtlMs?: number; readonly fresh?: boolean }): Promise<T>;
}

/** Turns the identities that a pipeline names into credentials. Asking for a provider touches no network. */
export interface CredentialBroker {
  /** `undefined` names the ambient AWS identity. */
  aws(identity: string | undefined): CredentialProvider<AwsCredentials>;
  /** `undefined` is the answer for an anonymous identity: send no token. */
  gcp(identity: string, request: GcpTokenRequest): CredentialProvider<GcpAccessToken> | undefined;
  /** The AWS region of this process, for clients whose options name none. */
  awsRegion(options?: { readonly signal?: AbortSignal }): Promise<string | undefined>;
  /** Where the APIs of an identity live: `googleapis.com`, but for a sovereign cloud. */
  universeDomain(identity: string): string;
}
