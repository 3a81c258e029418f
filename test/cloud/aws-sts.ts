import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type AwsPrincipal, roleSession } from './principals.ts';
import { LocalServer, type Reply, readBody } from './server.ts';
import { SignatureRefused, verifySignature } from './sigv4-verifier.ts';

/** AWS STS: GetCallerIdentity and AssumeRole, signatures verified. */
export class LocalAwsSts extends LocalServer {
  /** By access key id; sessions that AssumeRole makes are added. */
  readonly principals: Map<string, AwsPrincipal>;
  /** Role names that may be assumed, with the external id that their trust policy asks for. */
  readonly assumable = new Map<string, string | undefined>();
  readonly #now: () => number;

  constructor(principals: Map<string, AwsPrincipal>, now: () => number) {
    super();
    this.principals = principals;
    this.#now = now;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const body = await readBody(request);
    const headers = request.headers as Record<string, string>;
    const payloadHash = createHash('sha256').update(body).digest('hex');
    try {
      const { principal } = verifySignature(
        { method: request.method ?? '', path: url.pathname, query: url.searchParams, headers, payloadHash },
        'sts',
        this.principals,
        this.#now(),
      );
      const form = new URLSearchParams(body.toString());
      if (form.get('Action') === 'GetCallerIdentity') return callerIdentity(principal);
      if (form.get('Action') === 'AssumeRole') return this.#assume(form, principal);
      return failure(400, 'InvalidAction', 'Could not find operation.');
    } catch (error) {
      if (error instanceof SignatureRefused) return failure(403, error.code, error.message);
      throw error;
    }
  }

  #assume(form: URLSearchParams, caller: AwsPrincipal): Reply {
    const [, account = '', name = ''] =
      /^arn:aws:iam::(\d{12}):role\/(?:.*\/)?([^/]+)$/.exec(form.get('RoleArn') ?? '') ?? [];
    if (!this.assumable.has(name) || this.assumable.get(name) !== (form.get('ExternalId') ?? undefined)) {
      const message = `User: ${caller.arn} is not authorized to perform: sts:AssumeRole on resource: ${form.get('RoleArn')}`;
      return failure(403, 'AccessDenied', message);
    }
    const seconds = Number(form.get('DurationSeconds') ?? 3600);
    const session = {
      ...roleSession(name, form.get('RoleSessionName') ?? '', account),
      expiresAt: this.#now() + seconds * 1000,
    };
    this.principals.set(session.accessKeyId, session);
    return xml(
      200,
      `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>${session.accessKeyId}</AccessKeyId><SecretAccessKey>${session.secretAccessKey}</SecretAccessKey>
<SessionToken>${session.sessionToken}</SessionToken><Expiration>${new Date(session.expiresAt).toISOString()}</Expiration>
</Credentials><AssumedRoleUser><Arn>${session.arn}</Arn><AssumedRoleId>${session.userId}</AssumedRoleId></AssumedRoleUser>
</AssumeRoleResult></AssumeRoleResponse>`,
    );
  }
}

const xml = (status: number, body: string): Reply => ({ status, headers: { 'content-type': 'text/xml' }, body });

const callerIdentity = ({ arn, userId, account }: AwsPrincipal): Reply =>
  xml(
    200,
    `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>${arn}</Arn><UserId>${userId}</UserId><Account>${account}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`,
  );

const failure = (status: number, code: string, message: string): Reply =>
  xml(
    status,
    `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`,
  );
