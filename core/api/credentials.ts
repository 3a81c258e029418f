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
}

/** Hold the provider, never the value: it renews before the value ends, and many callers cause one request. */
export interface CredentialProvider<T> {
  /** @param options.minTtlMs the answer is valid for at least this long; `fresh` ignores what is cached. */
  get(options?: { readonly signal?: AbortSignal; readonly minTtlMs?: number; readonly fresh?: boolean }): Promise<T>;
}

/** Turns the identities that a pipeline names into credentials. */
export interface CredentialBroker {
  /** `undefined` names the ambient AWS identity. */
  aws(identity: string | undefined): CredentialProvider<AwsCredentials>;
  /** `undefined` is the answer for an anonymous identity: send no token. */
  gcp(identity: string, scopes: readonly string[]): CredentialProvider<GcpAccessToken> | undefined;
  /** The region that the environment names, for clients whose options name none. */
  readonly awsRegion: string | undefined;
}
