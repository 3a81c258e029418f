import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { OidcIssuer } from './oidc.ts';
import { type GoogleToken, googleTokenText } from './principals.ts';
import { json, LocalServer, type Reply, readBody } from './server.ts';

const denied = (permission: string): Reply =>
  json(403, {
    error: {
      code: 403,
      message: `Permission '${permission}' denied on resource (or it may not exist).`,
      status: 'PERMISSION_DENIED',
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
          reason: 'IAM_PERMISSION_DENIED',
          domain: 'iam.googleapis.com',
          metadata: { permission },
        },
      ],
    },
  });

const accessRequest = z.strictObject({
  scope: z.array(z.string()).min(1),
  lifetime: z.string().regex(/^\d+s$/),
  delegates: z.array(z.string()).optional(),
});
const idRequest = z.strictObject({
  audience: z.string().min(1),
  includeEmail: z.boolean().optional(),
  delegates: z.array(z.string()).optional(),
});

/** iamcredentials.googleapis.com: generateAccessToken and generateIdToken for those who may, delegates included. */
export class LocalIamCredentials extends LocalServer {
  /** E-mail address to the beginning of the principals (or accounts) that may impersonate it, but delegate nothing. */
  readonly workloadIdentityUsers = new Map<string, string>();
  /** The same for those that may also pass a request on: only this role holds implicitDelegation. */
  readonly tokenCreators = new Map<string, string>();
  /** Accounts for which an organisation policy allows twelve hours. */
  readonly longLived = new Set<string>();
  readonly #tokens: Map<string, GoogleToken>;
  readonly #google: OidcIssuer;
  readonly #now: () => number;

  constructor(tokens: Map<string, GoogleToken>, google: OidcIssuer, now: () => number) {
    super(now);
    this.#tokens = tokens;
    this.#google = google;
    this.#now = now;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const found = /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):(generateAccessToken|generateIdToken)$/.exec(
      url.pathname,
    );
    const body: unknown = JSON.parse((await readBody(request)).toString() || '{}');
    if (request.method !== 'POST' || found === null) return { status: 404 };
    const caller = this.#tokens.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '');
    if (caller === undefined || caller.expiresAt <= this.#now())
      return googleError(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.');
    const project = request.headers['x-goog-user-project'];
    if (project !== undefined) {
      const text = `Caller does not have required permission to use project ${String(project)}. Grant the caller the roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission.`;
      return googleError(403, 'PERMISSION_DENIED', text, 'USER_PROJECT_DENIED');
    }
    const email = decodeURIComponent(found[1] ?? '');
    const access = found[2] === 'generateAccessToken';
    const asked = (access ? accessRequest : idRequest).safeParse(body);
    if (!asked.success) return googleError(400, 'INVALID_ARGUMENT', 'Request contains an invalid argument.');
    const last = access ? 'getAccessToken' : 'getOpenIdToken';
    const lacking = this.#lacking(email, asked.data.delegates ?? [], caller.principal, last);
    if (lacking !== undefined) return denied(`iam.serviceAccounts.${lacking}`);
    return 'scope' in asked.data ? this.#accessToken(email, asked.data) : this.#idToken(email, asked.data.audience);
  }

  /**
   * The first permission that a chain of delegates lacks on its way from the caller to the account.
   *
   * Source: https://cloud.google.com/iam/docs/create-short-lived-credentials-delegated
   */
  #lacking(email: string, delegates: readonly string[], caller: string, last: string): string | undefined {
    const accounts = delegates.map((delegate) => delegate.replace('projects/-/serviceAccounts/', ''));
    const chain = [caller, ...accounts, email];
    const may = (roles: ReadonlyMap<string, string>, account: string, by = ''): boolean => {
      const allowed = roles.get(account);
      return allowed !== undefined && by.startsWith(allowed);
    };
    const delegating = accounts.every((account, index) => may(this.tokenCreators, account, chain[index]));
    if (!delegating) return 'implicitDelegation';
    const reached = [this.tokenCreators, this.workloadIdentityUsers].some((roles) => may(roles, email, chain.at(-2)));
    return reached ? undefined : last;
  }

  #accessToken(email: string, { scope, lifetime }: z.output<typeof accessRequest>): Reply {
    const seconds = Number.parseInt(lifetime, 10);
    if (seconds > (this.longLived.has(email) ? 43_200 : 3600))
      return googleError(400, 'INVALID_ARGUMENT', 'The access token lifetime cannot exceed 3600 seconds.');
    const token = googleTokenText('c');
    const expiresAt = this.#now() + seconds * 1000;
    this.#tokens.set(token, { principal: email, scopes: scope, expiresAt });
    return json(200, { accessToken: token, expireTime: new Date(expiresAt).toISOString() });
  }

  #idToken(email: string, audience: string): Reply {
    const sub = numericId(email);
    return json(200, { token: this.#google.token({ aud: audience, azp: email, sub, email, email_verified: true }) });
  }
}

/** The unique id of a local service account, which AWS trust policies name. */
export const numericId = (email: string): string =>
  `1${[...email].reduce((sum, character) => (sum * 31 + (character.codePointAt(0) ?? 0)) % 10 ** 12, 7)}`.padEnd(
    21,
    '0',
  );

export const googleError = (status: number, name: string, message: string, reason?: string): Reply =>
  json(status, {
    error: {
      code: status,
      message,
      status: name,
      ...(reason === undefined ? {} : { errors: [{ message, domain: 'global', reason }] }),
    },
  });
