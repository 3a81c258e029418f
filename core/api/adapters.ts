import type { AwsCredentials, CredentialProvider, GcpAccessToken } from './credentials.ts';
import { BrokerError } from './errors.ts';

/**
 * A provider as the AWS SDK wants one. It holds nothing itself, so a client made with it is always given credentials
 * that are still good, and the SDK's own cache follows their `expiration`.
 */
export const awsSdkCredentials =
  (provider: CredentialProvider<AwsCredentials>) => async (): Promise<AwsCredentials> => {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = await provider.get();
    return {
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      ...(expiration === undefined ? {} : { expiration }),
    };
  };

/** What google-auth-library calls a request: the options that we look at, and whatever else gaxios knows. */
interface RequestOptions {
  readonly headers?: ConstructorParameters<typeof Headers>[0];
  readonly [option: string]: unknown;
}

/** What we need of google-auth-library's `AuthClient`, of releases 10 and 11 alike. */
interface AuthClientBase {
  readonly transporter: { request(options: RequestOptions): Promise<unknown> };
}

export interface GoogleAuthClientOptions {
  /** Of the data, not of the pool; federated credentials know none, and BigQuery does not work without. */
  readonly projectId?: string;
  readonly universeDomain?: string;
}

/**
 * A provider as Google's client libraries want one: `new Storage({ authClient })`, `new BigQuery({ authClient,
 * projectId })`, and every gax (gRPC) client.
 *
 * The class is handed in, since a bundle may hold two copies of google-auth-library and a client must get that of its
 * own; so this package needs none.
 *
 * @param AuthClient of the google-auth-library (10.9 or newer) that the client library uses.
 */
export function googleAuthClient<Client>(
  AuthClient: abstract new (options?: never) => Client,
  provider: CredentialProvider<GcpAccessToken>,
  { projectId, universeDomain }: GoogleAuthClientOptions = {},
): Client {
  const headersOf = async (fresh: boolean): Promise<Headers> => {
    const { token, quotaProject } = await provider.get({ fresh });
    // Real Headers: gax calls forEach on them.
    const headers = new Headers({ authorization: `Bearer ${token}` });
    if (quotaProject !== undefined) headers.set('x-goog-user-project', quotaProject);
    return headers;
  };
  // The abstract class becomes concrete here: these three methods are all that it leaves open.
  const Base = AuthClient as unknown as new (options: object) => AuthClientBase;
  class KeylessClient extends Base {
    async getAccessToken(): Promise<{ token: string }> {
      const { token } = await provider.get();
      return { token };
    }
    getRequestHeaders(): Promise<Headers> {
      return headersOf(false);
    }
    async request(options: RequestOptions): Promise<unknown> {
      const send = async (fresh: boolean): Promise<unknown> => {
        const headers = new Headers(options.headers);
        for (const [name, value] of await headersOf(fresh)) if (!headers.has(name)) headers.set(name, value);
        return this.transporter.request({ ...options, headers });
      };
      try {
        return await send(false);
      } catch (error) {
        // A token may be revoked before its end; a stream that was sent in part cannot be sent again.
        if ((error as { readonly status?: unknown }).status !== 401 || holdsStream(options)) throw error;
        return send(true);
      }
    }
  }
  const options = { ...(projectId && { projectId }), ...(universeDomain && { universeDomain }) };
  return new KeylessClient(options) as Client;
}

const holdsStream = ({ data, body, multipart }: RequestOptions): boolean =>
  [data, body, ...(Array.isArray(multipart) ? (multipart as { readonly content?: unknown }[]) : [])].some(
    (part) => isStream(part) || isStream((part as { readonly content?: unknown } | undefined)?.content),
  );

const isStream = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && (Symbol.asyncIterator in body || 'getReader' in body);

export interface AuthorizedFetchOptions {
  /** Hosts that may get the token. Default: those of googleapis.com, over https. */
  readonly mayReceive?: (url: URL) => boolean;
  readonly fetch?: typeof fetch;
}

/**
 * `fetch` with a Google token, for APIs without a client library. The token goes to Google's hosts only, over TLS, and
 * no redirect is followed. A 401 is tried once more with a fresh token.
 *
 * @throws BrokerError `invalid_request` for a host that must not see the token.
 */
export function authorizedFetch(
  provider: CredentialProvider<GcpAccessToken>,
  { mayReceive = isGoogle, fetch: send = fetch }: AuthorizedFetchOptions = {},
): typeof fetch {
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (!mayReceive(url)) {
      throw new BrokerError('invalid_request', `a Google token must not go to ${url.protocol}//${url.host}`, {
        hint: 'Call Google APIs only, over https, or name the host in mayReceive.',
      });
    }
    const attempt = async (fresh: boolean): Promise<Response> => {
      const { token, quotaProject } = await provider.get({ fresh, ...(init.signal && { signal: init.signal }) });
      const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
      headers.set('authorization', `Bearer ${token}`);
      if (quotaProject !== undefined) headers.set('x-goog-user-project', quotaProject);
      return send(input instanceof Request ? input.clone() : input, { ...init, headers, redirect: 'error' });
    };
    const response = await attempt(false);
    if (response.status !== 401 || isStream(init.body)) return response;
    await response.body?.cancel();
    return attempt(true);
  };
}

const isGoogle = ({ protocol, hostname }: URL): boolean =>
  protocol === 'https:' && /^[a-z0-9.-]+\.googleapis\.com$/.test(hostname);
