import type { CredentialBroker } from '../../api/credentials.ts';
import { BrokerError } from '../../api/errors.ts';
import type { ServerClock } from '../../auth/clock.ts';
import { post } from '../../auth/http.ts';
import { signRequest } from '../../auth/sigv4.ts';
import type { Answer, ResumeToken } from '../answer.ts';

/** More than ten days of invocations of a quarter of an hour. */
const MOST_HOPS = 1000;

/** @throws BrokerError `no_progress` when calling again would only cost money. */
export function checkProgress({ resume, error }: Answer, before: ResumeToken | undefined): void {
  // A source that has to be waited for makes no progress, and is no fault.
  if (resume === undefined || error?.code === 'pending') return;
  if (resume.hop > MOST_HOPS)
    throw new BrokerError('no_progress', `run ${resume.runId} was continued ${MOST_HOPS} times`);
  if (before !== undefined && before.runId === resume.runId && before.done >= resume.done)
    throw new BrokerError('no_progress', `run ${resume.runId} got no further in a whole invocation`);
}

export interface ContinueOptions {
  readonly credentials: CredentialBroker;
  readonly clock: ServerClock;
  /** Another address of the Lambda API, for tests. */
  readonly endpoint: string | undefined;
  readonly functionArn: string;
  readonly signal: AbortSignal;
}

/**
 * Calls this very function again, asynchronously, to go on with a run.
 *
 * Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
 */
export async function callAgain(resume: ResumeToken, options: ContinueOptions): Promise<void> {
  const { credentials, clock, endpoint, functionArn, signal } = options;
  const [, partition = 'aws', , region = '', , , name = '', qualifier] = functionArn.split(':');
  const domain = partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com';
  const base = endpoint ?? `https://lambda.${region}.${domain}`;
  const url = new URL(`${base}/2015-03-31/functions/${name}/invocations`);
  if (qualifier !== undefined) url.searchParams.set('Qualifier', qualifier);
  const body = JSON.stringify({ resume });
  const keys = await credentials.aws(undefined).get({ signal });
  const unsigned = {
    method: 'POST',
    url,
    headers: { host: url.host, 'content-type': 'application/json', 'x-amz-invocation-type': 'Event' },
    body,
  };
  const signed = signRequest(unsigned, keys, { region, service: 'lambda', now: clock.now() });
  const { host: _, ...headers } = signed;
  const secrets = [keys.secretAccessKey, keys.sessionToken ?? '', signed.authorization ?? ''];
  const answer = await post(url.href, { headers, body, secrets }, { signal, clock });
  if (answer.status === 202) return;
  const code = answer.status === 403 ? 'permission_denied' : answer.status === 429 ? 'throttled' : 'unavailable';
  throw new BrokerError(code, `the function could not call itself to go on: HTTP ${answer.status}`, {
    hint: 'Allow lambda:InvokeFunction on the function itself to its role, or set deploy.continue: caller.',
  });
}
