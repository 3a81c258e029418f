import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request, Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LocalCloud } from '../../cloud/local-cloud.ts';
import { type AwsPrincipal, LOCAL_ACCOUNT } from '../../cloud/principals.ts';
import { startServer } from '../servers.ts';

/** What a function answers an invocation: what Lambda would, or that it takes no more. */
export type Answer = { readonly ok: unknown } | { readonly error: LambdaError } | { readonly throttled: true };

export interface LambdaError {
  readonly errorType: string;
  readonly errorMessage: string;
}

export interface EngineOptions {
  /** A Python that has moto. */
  readonly python: string;
  /** Whose S3 it reads and writes. */
  readonly cloud: LocalCloud;
  invoke(event: Record<string, unknown>): Promise<Answer>;
}

export interface Execution {
  readonly status: 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'ABORTED' | 'TIMED_OUT';
  readonly output: Record<string, unknown> | undefined;
  readonly error: string | undefined;
  readonly cause: string | undefined;
  readonly arn: string;
  readonly events: readonly { readonly type: string; readonly timestamp: number }[];
  readonly items: Readonly<Record<string, number>> | undefined;
}

export interface Engine extends AsyncDisposable {
  readonly url: string;
  /** Begins an execution. @returns its ARN. */
  start(definition: object, input: object): Promise<string>;
  /** Waits until it is over. */
  ended(arn: string): Promise<Execution>;
  /** Runs a state machine to its end. */
  run(definition: object, input?: object): Promise<Execution>;
  stop(arn: string): Promise<void>;
}

/** Whom the interpreter of moto signs as. */
const STATES: AwsPrincipal = {
  accessKeyId: 'ak',
  secretAccessKey: 'sk',
  account: LOCAL_ACCOUNT,
  arn: `arn:aws:sts::${LOCAL_ACCOUNT}:assumed-role/states/local`,
  userId: 'AROALOCALSTATES:local',
};

const LONGEST_MS = 300_000;
const REGION = 'eu-west-1';

/**
 * The Step Functions interpreter of moto (LocalStack's), with what it lacks for Distributed Map. Its calls of Lambda and
 * S3 come to this router, which answers the first and passes the second on.
 */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  const { python, cloud, invoke } = options;
  const s3 = cloud.s3.url;
  cloud.principals.set(STATES.accessKeyId, STATES);
  let moto = '';
  const server = new Server((incoming, outgoing) => {
    route(incoming, outgoing, { moto, s3, invoke }).catch((error: unknown) => {
      if (!outgoing.headersSent) outgoing.writeHead(502);
      outgoing.end(String(error));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const engine = join(import.meta.dirname, 'engine.py');
  const started = await startServer(python, (at) => [engine, '-H', '127.0.0.1', '-p', String(at)], {
    AWS_DEFAULT_REGION: REGION,
    MOTO_PORT: String(port),
  });
  moto = started.url;
  await fetch(`${moto}/moto-api/config`, {
    method: 'POST',
    body: JSON.stringify({ stepfunctions: { execute_state_machine: true } }),
  });
  const call = (target: string, body: object) => callStates(moto, target, body);
  const begin = async (definition: object, input: object): Promise<string> => {
    const name = `m${Date.now()}${Math.floor(Math.random() * 1e6)}`;
    const roleArn = 'arn:aws:iam::123456789012:role/states';
    const made = await call('CreateStateMachine', { name, definition: JSON.stringify(definition), roleArn });
    const { stateMachineArn } = made as { stateMachineArn: string };
    const execution = await call('StartExecution', { stateMachineArn, name: `e${name}`, input: JSON.stringify(input) });
    return (execution as { executionArn: string }).executionArn;
  };
  const ended = async (executionArn: string): Promise<Execution> => {
    const deadline = Date.now() + LONGEST_MS;
    for (;;) {
      const found = (await call('DescribeExecution', { executionArn })) as {
        status: Execution['status'];
        output?: string;
        error?: string;
        cause?: string;
      };
      if (found.status !== 'RUNNING') return await told(found);
      if (Date.now() > deadline) throw new Error('the execution did not end');
      await sleep(100);
    }
    async function told(found: { status: Execution['status']; output?: string; error?: string; cause?: string }) {
      const history = (await call('GetExecutionHistory', { executionArn })) as {
        events: { type: string; timestamp: number }[];
      };
      const { mapRuns } = (await call('ListMapRuns', { executionArn })) as { mapRuns: { mapRunArn: string }[] };
      const [run] = mapRuns;
      const counted = run && ((await call('DescribeMapRun', run)) as { itemCounts: Record<string, number> });
      return {
        status: found.status,
        output: found.output === undefined ? undefined : JSON.parse(found.output),
        error: found.error,
        cause: found.cause,
        arn: executionArn,
        events: history.events,
        items: counted?.itemCounts,
      };
    }
  };
  return {
    url,
    start: begin,
    ended,
    run: async (definition, input = {}) => await ended(await begin(definition, input)),
    stop: async (executionArn) => void (await call('StopExecution', { executionArn })),
    async [Symbol.asyncDispose]() {
      await started[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
    },
  };
}

async function callStates(moto: string, target: string, body: object): Promise<unknown> {
  const scope = `test/20260101/${REGION}/states/aws4_request`;
  const response = await fetch(moto, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': `AWSStepFunctions.${target}`,
      authorization: `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=none`,
    },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${target}: HTTP ${response.status}: ${text.slice(0, 500)}`);
  return JSON.parse(text);
}

interface Routes extends Pick<EngineOptions, 'invoke'> {
  readonly moto: string;
  readonly s3: string;
}

async function route(incoming: IncomingMessage, outgoing: ServerResponse, { moto, s3, invoke }: Routes): Promise<void> {
  if (/^\/2015-03-31\/functions\/[^/]+\/invocations/.test(incoming.url ?? '')) {
    const answer = await invoke(JSON.parse((await bodyOf(incoming)).toString()));
    answerInvoke(outgoing, answer);
    return;
  }
  const isStates = incoming.headers['x-amz-target']?.toString().startsWith('AWSStepFunctions.') === true;
  const to = new URL(isStates ? moto : s3);
  const passed = request({
    host: to.hostname,
    port: to.port,
    method: incoming.method,
    path: incoming.url,
    headers: incoming.headers,
  });
  incoming.pipe(passed);
  const [response] = (await once(passed, 'response')) as [IncomingMessage];
  outgoing.writeHead(response.statusCode ?? 502, response.rawHeaders);
  response.pipe(outgoing);
}

/** Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html */
function answerInvoke(outgoing: ServerResponse, answer: Answer): void {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'x-amz-executed-version': '$LATEST',
    'x-amzn-requestid': randomUUID(),
  };
  if ('throttled' in answer) {
    outgoing.writeHead(429, { ...headers, 'x-amzn-errortype': 'TooManyRequestsException' });
    outgoing.end(
      JSON.stringify({ Type: 'User', message: 'Rate Exceeded.', Reason: 'ConcurrentInvocationLimitExceeded' }),
    );
  } else if ('error' in answer) {
    outgoing.writeHead(200, { ...headers, 'x-amz-function-error': 'Unhandled' });
    outgoing.end(JSON.stringify(answer.error));
  } else {
    outgoing.writeHead(200, headers);
    outgoing.end(JSON.stringify(answer.ok));
  }
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
