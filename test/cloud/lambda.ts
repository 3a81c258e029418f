import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { allows, type PolicyStatement } from './iam.ts';
import { type AwsPrincipal, LOCAL_ACCOUNT } from './principals.ts';
import { json, LocalServer, type Reply, readBody } from './server.ts';
import { SignatureRefused, verifySignature } from './sigv4-verifier.ts';

/** The Invoke operation of AWS Lambda, asynchronous calls only. Who invokes is verified; what is invoked is kept. */
export class LocalLambda extends LocalServer {
  /** What was accepted, in order. */
  readonly invocations: { readonly functionName: string; readonly payload: unknown }[] = [];
  /** Of whoever calls; without one everything is allowed. */
  policy: readonly PolicyStatement[] | undefined;
  readonly #principals: ReadonlyMap<string, AwsPrincipal>;
  readonly #now: () => number;

  constructor(principals: ReadonlyMap<string, AwsPrincipal>, now: () => number) {
    super(now);
    this.#principals = principals;
    this.#now = now;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const body = await readBody(request);
    const headers = request.headers as Record<string, string>;
    const payloadHash = createHash('sha256').update(body).digest('hex');
    const signed = { method: request.method ?? '', path: url.pathname, query: url.searchParams, headers, payloadHash };
    try {
      const { region } = verifySignature(signed, 'lambda', this.#principals, this.#now());
      const functionName = /^\/2015-03-31\/functions\/([\w-]+)\/invocations$/.exec(url.pathname)?.[1];
      if (functionName === undefined) return failed(404, 'ResourceNotFoundException');
      const resource = `arn:aws:lambda:${region}:${LOCAL_ACCOUNT}:function:${functionName}`;
      if (this.policy !== undefined && !allows(this.policy, { action: 'lambda:InvokeFunction', resource }))
        return failed(403, 'AccessDeniedException');
      if (headers['x-amz-invocation-type'] !== 'Event') return failed(400, 'InvalidParameterValueException');
      this.invocations.push({ functionName, payload: JSON.parse(body.toString()) });
      return { status: 202 };
    } catch (error) {
      if (!(error instanceof SignatureRefused)) throw error;
      return failed(403, error.code);
    }
  }
}

const failed = (status: number, type: string): Reply => json(status, { Type: 'User', Message: type });
