import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { AwsPrincipal, GoogleToken } from './principals.ts';
import { json, LocalServer, type Reply, readBody } from './server.ts';
import { SignatureRefused, verifySignature } from './sigv4-verifier.ts';

/** A workload identity provider that trusts one role of one AWS account. */
export interface Provider {
  /** `//iam.googleapis.com/projects/…/providers/…` */
  readonly audience: string;
  readonly awsAccountId: string;
  /** The attribute condition: only sessions of this role. */
  readonly roleName: string;
}

const TARGET = 'x-goog-cloud-target-resource';
const GRANT: Readonly<Record<string, string>> = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  subject_token_type: 'urn:ietf:params:aws:token-type:aws4_request',
};
const signedRequest = z.strictObject({
  url: z.string(),
  method: z.literal('POST'),
  headers: z.array(z.strictObject({ key: z.string(), value: z.string() })).max(16),
});

const refused = (error: string, error_description: string, status = 400): Reply =>
  json(status, { error, error_description });

/**
 * Google's STS. Verifies the AWS request inside the subject token byte for byte, and is stricter than Google in one
 * thing: the header that names the target provider must be signed.
 */
export class LocalGoogleSts extends LocalServer {
  readonly providers: Provider[] = [];
  /** Tokens that the local Google accepts. */
  readonly tokens: Map<string, GoogleToken>;
  readonly #principals: ReadonlyMap<string, AwsPrincipal>;
  readonly #now: () => number;
  /** Seconds that a federated token lives. */
  lifetime = 3600;
  /** Told of every exchange that succeeded: what Google learned, without any secret. */
  onExchange: (exchange: { readonly arn: string; readonly audience: string; readonly principal: string }) => void =
    () => {};

  constructor(tokens: Map<string, GoogleToken>, principals: ReadonlyMap<string, AwsPrincipal>, now: () => number) {
    super();
    this.tokens = tokens;
    this.#principals = principals;
    this.#now = now;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    if (request.method !== 'POST' || url.pathname !== '/v1/token') return { status: 404 };
    if (request.headers.authorization !== undefined)
      return refused('invalid_request', 'Authorization must not be sent.');
    if (request.headers['content-type'] !== 'application/x-www-form-urlencoded')
      return refused('invalid_request', 'Unknown content type.');
    const form = new URLSearchParams((await readBody(request)).toString());
    for (const [name, value] of Object.entries(GRANT)) {
      if (form.get(name) !== value) return refused('invalid_request', `Invalid value for "${name}".`);
    }
    const scopes = (form.get('scope') ?? '').split(' ').filter((scope) => scope !== '');
    if (scopes.length === 0) return refused('invalid_request', 'Scope(s) must be provided.');
    const audience = form.get('audience') ?? '';
    if (
      !/^\/\/iam\.googleapis\.com\/projects\/[^/]+\/locations\/global\/workloadIdentityPools\/[^/]+\/providers\/[^/]+$/.test(
        audience,
      )
    ) {
      return refused(
        'invalid_request',
        'Invalid value for "audience". This value should be the full resource name of the Identity Provider. See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.',
      );
    }
    const provider = this.providers.find((candidate) => candidate.audience === audience);
    if (provider === undefined) {
      return refused(
        'invalid_target',
        'The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn\'t exist.',
      );
    }
    return this.#exchange(form.get('subject_token') ?? '', provider, scopes);
  }

  #exchange(subjectToken: string, provider: Provider, scopes: readonly string[]): Reply {
    try {
      const caller = this.#caller(subjectToken, provider.audience);
      const role = /:assumed-role\/([^/]+)\//.exec(caller.arn)?.[1];
      if (caller.account !== provider.awsAccountId || role !== provider.roleName) {
        return refused('unauthorized_client', 'The given credential is rejected by the attribute condition.');
      }
      const pool = provider.audience.replace(/\/providers\/.*/, '');
      const principal = `principal:${pool}/subject/${caller.userId}`;
      const token = `ya29.d.${randomBytes(48).toString('base64url')}`;
      this.tokens.set(token, { principal, scopes, expiresAt: this.#now() + this.lifetime * 1000 });
      this.onExchange({ arn: caller.arn, audience: provider.audience, principal });
      return json(200, {
        access_token: token,
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        token_type: 'Bearer',
        expires_in: this.lifetime,
      });
    } catch (error) {
      if (!(error instanceof SignatureRefused)) throw error;
      const code = error.code === 'SignatureExpired' ? 'SignatureDoesNotMatch' : error.code;
      return refused(
        'invalid_grant',
        `Received invalid AWS response of type ${code} with error message: ${error.message}`,
      );
    }
  }

  /** Does what Google and AWS do together: reads the request and learns who signed it. */
  #caller(subjectToken: string, audience: string): AwsPrincipal {
    const parsed = signedRequest.safeParse(readToken(subjectToken));
    if (!parsed.success) throw new SignatureRefused('InvalidFormat', 'Invalid format of AWS credentials');
    const url = new URL(parsed.data.url);
    if (
      !/^sts(\.[a-z0-9-]+)?\.amazonaws\.com$/.test(url.host) ||
      url.protocol !== 'https:' ||
      !['', '/'].includes(url.pathname)
    ) {
      throw new SignatureRefused('InvalidFormat', 'The URL is not that of AWS STS');
    }
    if (url.search !== '?Action=GetCallerIdentity&Version=2011-06-15') {
      throw new SignatureRefused('InvalidFormat', 'The request is not GetCallerIdentity');
    }
    const headers: Record<string, string> = {};
    for (const { key, value } of parsed.data.headers) {
      if (headers[key.toLowerCase()] !== undefined)
        throw new SignatureRefused('InvalidFormat', `Duplicate header ${key}`);
      headers[key.toLowerCase()] = value;
    }
    if (headers.host !== url.host)
      throw new SignatureRefused('SignatureDoesNotMatch', 'The host header does not match');
    if (headers[TARGET] !== audience)
      throw new SignatureRefused('InvalidTarget', `${TARGET} does not name this provider`);
    const payloadHash = createHash('sha256').update('').digest('hex');
    const { principal, signedHeaders } = verifySignature(
      { method: 'POST', path: '/', query: url.searchParams, headers, payloadHash },
      'sts',
      this.#principals,
      this.#now(),
    );
    if (!signedHeaders.includes(TARGET))
      throw new SignatureRefused('UnsignedTarget', `${TARGET} must be a signed header`);
    return principal;
  }
}

function readToken(token: string): unknown {
  try {
    return JSON.parse(decodeURIComponent(token));
  } catch {
    return undefined;
  }
}

/** iamcredentials.googleapis.com: generateAccessToken for those who hold workloadIdentityUser. */
export class LocalIamCredentials extends LocalServer {
  /** E-mail address to the prefix of the principals that may impersonate it. */
  readonly workloadIdentityUsers = new Map<string, string>();
  readonly #tokens: Map<string, GoogleToken>;
  readonly #now: () => number;

  constructor(tokens: Map<string, GoogleToken>, now: () => number) {
    super();
    this.#tokens = tokens;
    this.#now = now;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const found = /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):generateAccessToken$/.exec(url.pathname);
    const body: unknown = JSON.parse((await readBody(request)).toString() || '{}');
    if (request.method !== 'POST' || found === null) return { status: 404 };
    const caller = this.#tokens.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '');
    if (caller === undefined || caller.expiresAt <= this.#now()) {
      return googleError(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.');
    }
    const email = decodeURIComponent(found[1] ?? '');
    const allowed = this.workloadIdentityUsers.get(email);
    if (allowed === undefined || !caller.principal.startsWith(allowed)) {
      return googleError(
        403,
        'PERMISSION_DENIED',
        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
      );
    }
    const asked = z.object({ scope: z.array(z.string()).min(1), lifetime: z.string().regex(/^\d+s$/) }).safeParse(body);
    if (!asked.success || Number.parseInt(asked.data.lifetime, 10) > 3600) {
      return googleError(400, 'INVALID_ARGUMENT', 'Request contains an invalid argument.');
    }
    const token = `ya29.c.${randomBytes(48).toString('base64url')}`;
    const expiresAt = this.#now() + Number.parseInt(asked.data.lifetime, 10) * 1000;
    this.#tokens.set(token, { principal: email, scopes: asked.data.scope, expiresAt });
    return json(200, { accessToken: token, expireTime: new Date(expiresAt).toISOString() });
  }
}

export const googleError = (status: number, name: string, message: string, reason?: string): Reply =>
  json(status, {
    error: {
      code: status,
      message,
      status: name,
      ...(reason === undefined ? {} : { errors: [{ message, domain: 'global', reason }] }),
    },
  });
