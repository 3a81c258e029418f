import type { IncomingMessage } from 'node:http';
import { numericId } from './iam-credentials.ts';
import type { OidcIssuer } from './oidc.ts';
import { type AwsPrincipal, type GoogleToken, googleTokenText, secret } from './principals.ts';
import { json, LocalServer, type Reply } from './server.ts';

const credentialsOf = (session: AwsPrincipal, expiresAt: number) => ({
  AccessKeyId: session.accessKeyId,
  SecretAccessKey: session.secretAccessKey,
  Token: session.sessionToken,
  Expiration: new Date(expiresAt).toISOString(),
});

/** EC2 metadata, IMDSv2 only. Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html */
export class LocalImds extends LocalServer {
  readonly #session: AwsPrincipal;
  readonly #token = secret(16);
  region = 'eu-west-1';

  constructor(session: AwsPrincipal) {
    super();
    this.#session = session;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    if (request.method === 'PUT' && url.pathname === '/latest/api/token') {
      const ttl = request.headers['x-aws-ec2-metadata-token-ttl-seconds'];
      return ttl === undefined ? { status: 400 } : { status: 200, body: this.#token };
    }
    if (request.headers['x-aws-ec2-metadata-token'] !== this.#token) return { status: 401, body: 'Unauthorized' };
    const role = /assumed-role\/([^/]+)/.exec(this.#session.arn)?.[1] ?? '';
    const folder = '/latest/meta-data/iam/security-credentials/';
    if (url.pathname === folder) return { status: 200, body: role };
    if (url.pathname === '/latest/meta-data/placement/region') return { status: 200, body: this.region };
    if (url.pathname !== folder + role) return { status: 404 };
    return json(200, {
      Code: 'Success',
      Type: 'AWS-HMAC',
      LastUpdated: new Date().toISOString(),
      ...credentialsOf(this.#session, Date.now() + 21_600_000),
    });
  }
}

/** What hands out credentials in a container: of ECS (`/v2/credentials/…`) and of EKS Pod Identity (`/v1/credentials`). */
export class LocalContainer extends LocalServer {
  readonly #session: AwsPrincipal;
  region = 'eu-west-1';
  /** What the pod must present; a token that was rotated is refused. */
  podToken = secret(16);

  constructor(session: AwsPrincipal) {
    super();
    this.#session = session;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    if (url.pathname === '/v4/task') {
      const TaskARN = `arn:aws:ecs:${this.region}:${this.#session.account}:task/local/0123456789abcdef`;
      return json(200, { Cluster: 'local', TaskARN, AvailabilityZone: `${this.region}a` });
    }
    if (url.pathname.startsWith('/v2/credentials/'))
      return json(200, credentialsOf(this.#session, Date.now() + 21_600_000));
    if (url.pathname !== '/v1/credentials') return { status: 404 };
    if (request.headers.authorization !== this.podToken)
      return { status: 403, body: 'Access denied: the authorization token is not valid' };
    return json(200, credentialsOf(this.#session, Date.now() + 21_600_000));
  }
}

/** The portal from which `aws sso login` profiles fetch role credentials. */
export class LocalSso extends LocalServer {
  readonly #session: AwsPrincipal;
  readonly accessToken = secret(32);

  constructor(session: AwsPrincipal) {
    super();
    this.#session = session;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    if (url.pathname !== '/federation/credentials') return { status: 404 };
    if (request.headers['x-amz-sso_bearer_token'] !== this.accessToken)
      return json(
        401,
        { message: 'Session token not found or invalid' },
        { 'x-amzn-errortype': 'UnauthorizedException' },
      );
    const { accessKeyId, secretAccessKey, sessionToken } = this.#session;
    return json(200, {
      roleCredentials: { accessKeyId, secretAccessKey, sessionToken, expiration: Date.now() + 3_600_000 },
    });
  }
}

/** The metadata server of Cloud Run, GKE and Compute Engine. Source: https://cloud.google.com/compute/docs/metadata */
export class LocalGoogleMetadata extends LocalServer {
  readonly #tokens: Map<string, GoogleToken>;
  readonly #google: OidcIssuer;
  readonly #now: () => number;
  /** The attached service account; undefined: none, as on GKE without a binding. */
  email: string | undefined;
  lifetime = 3600;

  constructor(tokens: Map<string, GoogleToken>, google: OidcIssuer, email: string, now: () => number) {
    super(now);
    this.#tokens = tokens;
    this.#google = google;
    this.#now = now;
    this.email = email;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const flavor = { 'metadata-flavor': 'Google' };
    if (request.headers['metadata-flavor'] !== 'Google') return { status: 403, headers: flavor };
    const { email } = this;
    const path = url.pathname.replace('/computeMetadata/v1/instance/service-accounts/default/', '');
    if (email === undefined) return { status: 404, headers: flavor, body: 'no service account' };
    if (path === 'email') return { status: 200, headers: flavor, body: email };
    if (path === 'token') {
      const scopes = (url.searchParams.get('scopes') ?? '').split(',').filter((scope) => scope !== '');
      const token = googleTokenText('c');
      this.#tokens.set(token, { principal: email, scopes, expiresAt: this.#now() + this.lifetime * 1000 });
      return json(200, { access_token: token, expires_in: this.lifetime, token_type: 'Bearer' }, flavor);
    }
    const audience = url.searchParams.get('audience');
    if (path !== 'identity' || audience === null) return { status: 404, headers: flavor };
    const sub = numericId(email);
    // azp is the numeric id here and the e-mail address elsewhere: nobody should compare it.
    const full = url.searchParams.get('format') === 'full' ? { email, email_verified: true } : {};
    return { status: 200, headers: flavor, body: this.#google.token({ aud: audience, azp: sub, sub, ...full }) };
  }
}
