import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { OidcIssuer } from './oidc.ts';
import { type AwsPrincipal, type GoogleToken, googleTokenText } from './principals.ts';
import { json, LocalServer, type Reply, readBody } from './server.ts';
import { SignatureRefused } from './sigv4-verifier.ts';
import { signerOf } from './subject-verifier.ts';

/** A workload identity provider that trusts one role of one AWS account. */
export interface AwsProvider {
  /** `//iam.googleapis.com/projects/…/providers/…` */
  readonly audience: string;
  readonly awsAccountId: string;
  /** The attribute condition: only sessions of this role. */
  readonly roleName: string;
  /** What google.subject is mapped to. Default: `userid`. */
  readonly subject?: 'userid' | 'arn' | 'not-a-string';
}

/** A provider that trusts an OIDC issuer. */
export interface OidcProvider {
  readonly audience: string;
  readonly issuer: OidcIssuer;
  /** The attribute condition: only this subject. */
  readonly sub: string;
}

export type Provider = AwsProvider | OidcProvider;

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const GRANT: Readonly<Record<string, string>> = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  requested_token_type: ACCESS_TOKEN,
};
const AWS_REQUEST = 'urn:ietf:params:aws:token-type:aws4_request';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const AUDIENCE =
  /^\/\/iam\.googleapis\.com\/projects\/[^/]+\/locations\/global\/workloadIdentityPools\/[^/]+\/providers\/[^/]+$/;

/** The words of Google's token service, as they were seen. */
export const STS_TEXTS = {
  audience:
    'Invalid value for "audience". This value should be the full resource name of the Identity Provider. See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.',
  target:
    'The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn\'t exist.',
  condition: 'The given credential is rejected by the attribute condition.',
  notString: "The mapped attribute 'google.subject' must be of type STRING.",
  tooLong:
    'The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes.',
  issuer: "Error connecting to the given credential's issuer.",
} as const;

const refused = (error: string, error_description: string, status = 400): Reply =>
  json(status, { error, error_description });

/**
 * Google's STS. Verifies the AWS request inside the subject token byte for byte, and is stricter than Google in one
 * thing: the header that names the target provider must be signed. Tokens of OIDC issuers are verified too, and access
 * tokens are limited by credential access boundaries.
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
    super(now);
    this.tokens = tokens;
    this.#principals = principals;
    this.#now = now;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    if (request.method !== 'POST' || url.pathname !== '/v1/token') return { status: 404 };
    if (request.headers.authorization !== undefined)
      return refused('invalid_request', 'Authorization must not be sent.');
    if (request.headers['x-goog-user-project'] !== undefined)
      return refused('invalid_request', 'A quota project must not be sent.');
    if (request.headers['content-type'] !== 'application/x-www-form-urlencoded')
      return refused('invalid_request', 'Unknown content type.');
    const form = new URLSearchParams((await readBody(request)).toString());
    for (const [name, value] of Object.entries(GRANT)) {
      if (form.get(name) !== value) return refused('invalid_request', `Invalid value for "${name}".`);
    }
    if (form.get('subject_token_type') === ACCESS_TOKEN) return this.#downscope(form);
    const scopes = (form.get('scope') ?? '').split(' ').filter((scope) => scope !== '');
    if (scopes.length === 0) return refused('invalid_request', 'Scope(s) must be provided.');
    const audience = form.get('audience') ?? '';
    if (!AUDIENCE.test(audience)) return refused('invalid_request', STS_TEXTS.audience);
    const provider = this.providers.find((candidate) => candidate.audience === audience);
    if (provider === undefined) return refused('invalid_target', STS_TEXTS.target);
    const type = form.get('subject_token_type');
    if (type === JWT && 'issuer' in provider)
      return this.#exchangeJwt(form.get('subject_token') ?? '', provider, scopes);
    if (type === AWS_REQUEST && 'awsAccountId' in provider)
      return this.#exchangeAws(form.get('subject_token') ?? '', provider, scopes);
    if (type === JWT)
      return refused(
        'invalid_grant',
        "Invalid format of AWS credentials:Error at line 0:0: Unexpected end of stream : expected '{'",
      );
    return refused('invalid_request', 'Invalid value for "subject_token_type".');
  }

  #exchangeAws(subjectToken: string, provider: AwsProvider, scopes: readonly string[]): Reply {
    try {
      const caller = signerOf(subjectToken, provider.audience, this.#principals, this.#now());
      const role = /:assumed-role\/([^/]+)\//.exec(caller.arn)?.[1];
      if (caller.account !== provider.awsAccountId || role !== provider.roleName)
        return refused('unauthorized_client', STS_TEXTS.condition);
      if (provider.subject === 'not-a-string') return refused('unauthorized_client', STS_TEXTS.notString);
      const subject = provider.subject === 'arn' ? caller.arn : caller.userId;
      return this.#federated(subject, caller.arn, provider.audience, scopes);
    } catch (error) {
      if (!(error instanceof SignatureRefused)) throw error;
      const code = error.code === 'SignatureExpired' ? 'SignatureDoesNotMatch' : error.code;
      return refused(
        'invalid_grant',
        `Received invalid AWS response of type ${code} with error message: ${error.message}`,
      );
    }
  }

  #exchangeJwt(subjectToken: string, provider: OidcProvider, scopes: readonly string[]): Reply {
    if (!provider.issuer.reachable) return refused('invalid_grant', STS_TEXTS.issuer);
    const checked = provider.issuer.verify(subjectToken);
    if ('fault' in checked) {
      const texts = {
        format: 'Unable to parse the ID Token.',
        issuer: `The issuer in ID Token does not match the expected ones: ${provider.issuer.issuer}.`,
        signature: 'Invalid JWT Signature in ID Token: is not valid.',
        expired: 'ID Token issued at 0 is stale to sign-in.',
      };
      return refused('invalid_grant', texts[checked.fault]);
    }
    const { aud, sub } = checked.claims;
    if (aud !== `https:${provider.audience}` && aud !== provider.audience)
      return refused(
        'invalid_grant',
        `The audience in ID Token [${String(aud)}] does not match the expected audience.`,
      );
    if (sub !== provider.sub) return refused('unauthorized_client', STS_TEXTS.condition);
    return this.#federated(String(sub), String(sub), provider.audience, scopes);
  }

  #federated(subject: string, arn: string, audience: string, scopes: readonly string[]): Reply {
    if (Buffer.byteLength(subject) > 127) return refused('invalid_request', STS_TEXTS.tooLong);
    const pool = audience.replace(/\/providers\/.*/, '');
    const principal = `principal:${pool}/subject/${subject}`;
    const token = googleTokenText('d');
    this.tokens.set(token, { principal, scopes, expiresAt: this.#now() + this.lifetime * 1000 });
    this.onExchange({ arn, audience, principal });
    return granted(token, this.lifetime);
  }

  #downscope(form: URLSearchParams): Reply {
    const source = this.tokens.get(form.get('subject_token') ?? '');
    if (source === undefined || source.expiresAt <= this.#now())
      return refused('invalid_grant', 'The given subject token is not valid.');
    if (!source.scopes.includes('https://www.googleapis.com/auth/cloud-platform') || source.within !== undefined)
      return refused('invalid_request', 'The access token cannot be downscoped.');
    const within = boundary(form.get('options') ?? '');
    if (within === undefined) return refused('invalid_request', 'Invalid value for "options".');
    const token = googleTokenText('d');
    this.tokens.set(token, { ...source, within });
    return granted(token, Math.floor((source.expiresAt - this.#now()) / 1000));
  }
}

const granted = (token: string, expires_in: number): Reply =>
  json(200, { access_token: token, issued_token_type: ACCESS_TOKEN, token_type: 'Bearer', expires_in });

const boundarySchema = z.strictObject({
  accessBoundary: z.strictObject({
    accessBoundaryRules: z
      .array(
        z.strictObject({
          availableResource: z.string().regex(/^\/\/storage\.googleapis\.com\/projects\/_\/buckets\/[a-z0-9._-]+$/),
          availablePermissions: z.tuple([z.literal('inRole:roles/storage.objectViewer')]),
          availabilityCondition: z.strictObject({ expression: z.string() }).optional(),
        }),
      )
      .min(1)
      .max(10),
  }),
});

/** The two conditions that the documentation shows, and no other CEL: anything else is refused. */
const CONDITION =
  /^resource\.name\.startsWith\(("(?:[^"\\]|\\.)*")\) \|\| api\.getAttribute\('storage\.googleapis\.com\/objectListPrefix', ''\)\.startsWith\(("(?:[^"\\]|\\.)*")\)$/;

const EXACT = /^resource\.name == ("(?:[^"\\]|\\.)*")$/;

function boundary(options: string): { bucket: string; prefix: string; exact?: true }[] | undefined {
  try {
    const { accessBoundary } = boundarySchema.parse(JSON.parse(options));
    return accessBoundary.accessBoundaryRules.map(({ availableResource, availabilityCondition }) => {
      const bucket = availableResource.split('/').at(-1) ?? '';
      if (availabilityCondition === undefined) return { bucket, prefix: '' };
      const one = EXACT.exec(availabilityCondition.expression)?.[1];
      if (one !== undefined)
        return {
          bucket,
          prefix: (JSON.parse(one) as string).replace(`projects/_/buckets/${bucket}/objects/`, ''),
          exact: true,
        };
      const [, object = '""', list = '""'] = CONDITION.exec(availabilityCondition.expression) ?? [];
      const prefix = JSON.parse(list) as string;
      if (JSON.parse(object) !== `projects/_/buckets/${bucket}/objects/${prefix}`) throw new Error('condition');
      return { bucket, prefix };
    });
  } catch {
    return undefined;
  }
}
