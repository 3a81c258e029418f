import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { OidcIssuer } from './oidc.ts';
import { type AwsPrincipal, roleSession } from './principals.ts';
import { LocalServer, type Reply, readBody } from './server.ts';
import { SignatureRefused, verifySignature } from './sigv4-verifier.ts';

/** What a role's trust policy asks of a web identity: each claim with this value. */
export interface WebIdentityTrust {
  readonly issuer: OidcIssuer;
  readonly claims: Readonly<Record<string, string>>;
}

/** What a role's trust policy asks of whoever assumes it with signed requests. */
export interface RoleTrust {
  readonly externalId?: string;
  /** True: sts:TagSession is allowed too. */
  readonly tags?: boolean;
}

/** AWS STS: GetCallerIdentity, AssumeRole, AssumeRoleWithWebIdentity and GetWebIdentityToken; all that is signed is verified. */
export class LocalAwsSts extends LocalServer {
  /** By access key id; sessions that are made here are added. */
  readonly principals: Map<string, AwsPrincipal>;
  /** Role names that may be assumed, with the external id that their trust policy asks for, or all that it asks for. */
  readonly assumable = new Map<string, string | RoleTrust | undefined>();
  /** Role names that a web identity may assume. */
  readonly webIdentityRoles = new Map<string, WebIdentityTrust>();
  /** The session tags of the sessions made here, by access key id. */
  readonly sessionTags = new Map<string, Readonly<Record<string, string>>>();
  /** The issuer of GetWebIdentityToken; the account has opted in while `outboundEnabled`. */
  readonly outbound: OidcIssuer;
  outboundEnabled = true;
  readonly #now: () => number;

  constructor(principals: Map<string, AwsPrincipal>, now: () => number) {
    super(now);
    this.principals = principals;
    this.#now = now;
    this.outbound = new OidcIssuer('https://0d5d6f1e-local.tokens.sts.global.api.aws', now);
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const body = await readBody(request);
    const form = new URLSearchParams(body.toString());
    if (form.get('Action') === 'AssumeRoleWithWebIdentity') return this.#webIdentity(form);
    const headers = request.headers as Record<string, string>;
    const payloadHash = createHash('sha256').update(body).digest('hex');
    try {
      const { principal } = verifySignature(
        { method: request.method ?? '', path: url.pathname, query: url.searchParams, headers, payloadHash },
        'sts',
        this.principals,
        this.#now(),
      );
      if (form.get('Action') === 'GetCallerIdentity') return callerIdentity(principal);
      if (form.get('Action') === 'AssumeRole') return this.#assume(form, principal);
      if (form.get('Action') === 'GetWebIdentityToken') return this.#outboundToken(form, principal);
      return failure(400, 'InvalidAction', 'Could not find operation.');
    } catch (error) {
      if (!(error instanceof SignatureRefused)) throw error;
      const code = error.code === 'SignatureExpired' ? 'SignatureDoesNotMatch' : error.code;
      return failure(403, code, error.message);
    }
  }

  #assume(form: URLSearchParams, caller: AwsPrincipal): Reply {
    const { account, name } = roleOf(form);
    const trust = this.assumable.get(name);
    const { externalId, tags: mayTag = false } = typeof trust === 'string' ? { externalId: trust } : (trust ?? {});
    const tags = sessionTags(form);
    const denied = (action: string): Reply =>
      failure(
        403,
        'AccessDenied',
        `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${form.get('RoleArn')}`,
      );
    if (!this.assumable.has(name) || externalId !== (form.get('ExternalId') ?? undefined))
      return denied('sts:AssumeRole');
    if (Object.keys(tags).length > 0 && !mayTag) return denied('sts:TagSession');
    const session = this.#session(form, name, account);
    this.sessionTags.set(session.accessKeyId, tags);
    return xml(200, 'AssumeRole', credentialsXml(session));
  }

  #webIdentity(form: URLSearchParams): Reply {
    const { account, name } = roleOf(form);
    const trust = this.webIdentityRoles.get(name);
    const checked = trust?.issuer.verify(form.get('WebIdentityToken') ?? '');
    const denied = failure(403, 'AccessDenied', 'Not authorized to perform sts:AssumeRoleWithWebIdentity');
    if (trust === undefined || checked === undefined) return denied;
    if ('fault' in checked) {
      return checked.fault === 'expired'
        ? failure(
            400,
            'ExpiredTokenException',
            'Token expired: current date/time must be before the expiration date/time',
          )
        : failure(400, 'InvalidIdentityToken', 'The web identity token provided could not be validated.');
    }
    // `:aud` of accounts.google.com is azp where there is one, `:oaud` the real audience.
    const { aud, azp, sub } = checked.claims;
    const presented: Record<string, unknown> = { sub, oaud: aud, aud: azp ?? aud };
    if (Object.entries(trust.claims).some(([claim, value]) => presented[claim] !== value)) return denied;
    return xml(200, 'AssumeRoleWithWebIdentity', credentialsXml(this.#session(form, name, account)));
  }

  #outboundToken(form: URLSearchParams, { arn, account, userId }: AwsPrincipal): Reply {
    if (!this.outboundEnabled) {
      const text = 'The outbound web identity federation feature is not enabled for this account.';
      return failure(403, 'OutboundWebIdentityFederationDisabledException', text);
    }
    if (form.get('SigningAlgorithm') !== 'RS256') return failure(400, 'ValidationError', 'SigningAlgorithm');
    const seconds = Number(form.get('DurationSeconds') ?? 300);
    if (!(seconds >= 60 && seconds <= 3600)) return failure(400, 'ValidationError', 'DurationSeconds');
    const role = /assumed-role\/([^/]+)\//.exec(arn)?.[1];
    const sub = role === undefined ? arn : `arn:aws:iam::${account}:role/${role}`;
    const claims = {
      aud: form.get('Audience.member.1'),
      sub,
      'https://sts.amazonaws.com/': { aws_account: account, principal_id: userId },
    };
    const token = this.outbound.token(claims, seconds);
    const expiration = new Date(this.#now() + seconds * 1000).toISOString();
    return xml(
      200,
      'GetWebIdentityToken',
      `<WebIdentityToken>${token}</WebIdentityToken><Expiration>${expiration}</Expiration>`,
    );
  }

  #session(form: URLSearchParams, name: string, account: string): AwsPrincipal & { expiresAt: number } {
    const seconds = Number(form.get('DurationSeconds') ?? 3600);
    const session = {
      ...roleSession(name, form.get('RoleSessionName') ?? '', account),
      expiresAt: this.#now() + seconds * 1000,
    };
    this.principals.set(session.accessKeyId, session);
    return session;
  }
}

function roleOf(form: URLSearchParams): { account: string; name: string } {
  const [, account = '', name = ''] =
    /^arn:aws:iam::(\d{12}):role\/(?:.*\/)?([^/]+)$/.exec(form.get('RoleArn') ?? '') ?? [];
  return { account, name };
}

function sessionTags(form: URLSearchParams): Record<string, string> {
  const tags: Record<string, string> = {};
  for (let index = 1; form.has(`Tags.member.${index}.Key`); index++)
    tags[form.get(`Tags.member.${index}.Key`) ?? ''] = form.get(`Tags.member.${index}.Value`) ?? '';
  return tags;
}

const NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"';

const xml = (status: number, action: string, result: string): Reply => ({
  status,
  headers: { 'content-type': 'text/xml' },
  body: `<${action}Response ${NAMESPACE}><${action}Result>${result}</${action}Result></${action}Response>`,
});

const credentialsXml = (session: AwsPrincipal & { expiresAt: number }): string => `<Credentials>
<AccessKeyId>${session.accessKeyId}</AccessKeyId><SecretAccessKey>${session.secretAccessKey}</SecretAccessKey>
<SessionToken>${session.sessionToken}</SessionToken><Expiration>${new Date(session.expiresAt).toISOString()}</Expiration>
</Credentials><AssumedRoleUser><Arn>${session.arn}</Arn><AssumedRoleId>${session.userId}</AssumedRoleId></AssumedRoleUser>`;

const callerIdentity = ({ arn, userId, account }: AwsPrincipal): Reply =>
  xml(200, 'GetCallerIdentity', `<Arn>${arn}</Arn><UserId>${userId}</UserId><Account>${account}</Account>`);

const failure = (status: number, code: string, message: string): Reply => ({
  status,
  headers: { 'content-type': 'text/xml' },
  body: `<ErrorResponse ${NAMESPACE}><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`,
});
