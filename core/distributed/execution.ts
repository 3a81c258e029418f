import { z } from 'zod';
import type { CredentialBroker } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { type RetryPolicy, retry } from '../api/retry.ts';
import type { ServerClock } from '../auth/clock.ts';
import { post } from '../auth/http.ts';
import { signRequest } from '../auth/sigv4.ts';

const POLICY: RetryPolicy = { attempts: 5, baseDelayMs: 500, maxDelayMs: 10_000 };
/** Also one that is begun again, and waits for its turn. */
const UNDER_WAY: ReadonlySet<string> = new Set(['RUNNING', 'PENDING_REDRIVE']);
const answerSpec = z.object({ status: z.string() });

export interface ExecutionOptions {
  readonly credentials: CredentialBroker;
  readonly clock: ServerClock;
  /** Another address of the Step Functions API, for tests. */
  readonly endpoint: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Whether an execution of a state machine is under way.
 *
 * Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
 */
export async function isExecutionRunning(executionArn: string, options: ExecutionOptions): Promise<boolean> {
  const { credentials, clock, endpoint, signal } = options;
  const [, partition = 'aws', service, region = ''] = executionArn.split(':');
  // Another name than an ARN was made up, by a test or by hand: nobody can be asked.
  if (service !== 'states') return false;
  const domain = partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com';
  const url = new URL(endpoint ?? `https://states.${region}.${domain}/`);
  const body = JSON.stringify({ executionArn });
  const ask = async (): Promise<boolean> => {
    const keys = await credentials.aws(undefined).get({ signal });
    const headers = {
      host: url.host,
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': 'AWSStepFunctions.DescribeExecution',
    };
    const signed = signRequest({ method: 'POST', url, headers, body }, keys, { region, service, now: clock.now() });
    const { host: _, ...sent } = signed;
    const secrets = [keys.secretAccessKey, keys.sessionToken ?? '', signed.authorization ?? ''];
    const { status, text } = await post(url.href, { headers: sent, body, secrets }, { signal, clock });
    // It is forgotten after 90 days.
    if (status === 400 && text.includes('ExecutionDoesNotExist')) return false;
    if (status !== 200) throw failure(status, text);
    return UNDER_WAY.has(statusIn(text));
  };
  return await retry(ask, { policy: POLICY, signal });
}

function statusIn(text: string): string {
  try {
    return answerSpec.parse(JSON.parse(text)).status;
  } catch {
    throw new BrokerError('bad_response', 'Step Functions answered something that is no execution');
  }
}

function failure(status: number, text: string): BrokerError {
  const denied = status === 403 || /AccessDenied/.test(text);
  const code = denied ? 'permission_denied' : /Throttling/.test(text) ? 'throttled' : 'unavailable';
  return new BrokerError(code, `the execution before could not be asked for: HTTP ${status}`, {
    hint: 'Allow states:DescribeExecution on the executions of the state machine to the role of the function.',
  });
}
