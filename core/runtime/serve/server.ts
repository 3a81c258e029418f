import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serve as listen, type ServerType } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { asBrokerError, BrokerError, systemErrorCode } from '../../api/errors.ts';
import type { Runtime } from '../../api/runtime.ts';
import { runsAtOnce } from '../../engine/slots.ts';
import type { Carrier } from '../carrier.ts';
import type { Meter } from '../figures.ts';
import type { OpenJob } from '../job.ts';
import { logFields } from '../logger.ts';
import type { TokenVerifier } from '../oidc.ts';
import { answerPush, type HttpAnswer, LONGEST_PUSH } from '../push.ts';
import { Gate } from './gate.ts';
import { prometheus } from './prometheus.ts';

/** Of a request, body included; a push has at most 1 MiB. */
const REQUEST_MS = 30_000;
const RETRY_AFTER = '5';

export interface ServeOptions {
  /** Loads the pipeline, metered. */
  readonly ready: (meter: Meter) => Promise<{ readonly open: OpenJob; readonly carrier: Carrier }>;
  readonly verify: TokenVerifier;
  readonly runtime: Runtime;
  readonly port: number;
  /** Pushes that may wait; those beyond are answered 429. Default: four for each that is carried. */
  readonly queue?: number | undefined;
}

export interface Served {
  readonly port: number;
  /** Resolves when the last request is answered after the runtime has asked to stop. */
  readonly stopped: Promise<void>;
}

/**
 * Waits for pushes of Pub/Sub: `POST /`. Beside it: `/healthz` (the process lives), `/readyz` (send more), `/metrics`.
 *
 * A clean stop answers what is under way and takes nothing new; an answer of 200 is only given for what is in the sink.
 */
export async function serve({ ready, verify, runtime, port, queue }: ServeOptions): Promise<Served> {
  const metrics = prometheus();
  const { open, carrier } = await ready(metrics.meter);
  const concurrency = runsAtOnce(open.job);
  const gate = new Gate(concurrency, queue ?? 4 * concurrency);
  metrics.watch(gate);

  const app = new Hono();
  app.use(async (context, next) => {
    await next();
    // Else the connection would stay open for the next request, and keep the process.
    if (runtime.stop.aborted) context.header('connection', 'close');
  });
  app.get('/healthz', (context) => context.text('ok\n'));
  app.get('/readyz', (context) => {
    if (runtime.stop.aborted) return context.text('stopping\n', 503);
    return context.text('ready\n');
  });
  app.get('/metrics', async (context) =>
    context.body(await metrics.text(), 200, { 'content-type': metrics.contentType }),
  );
  const tooLarge = (context: Context): Response =>
    respond(context, { status: 413, body: { error: { code: 'too_large' } } });
  app.all('/', bodyLimit({ maxSize: LONGEST_PUSH, onError: tooLarge }), async (context) => {
    const { req } = context;
    const request = {
      method: req.method,
      path: req.path,
      headers: req.header(),
      body: req.method === 'POST' ? await req.text() : '',
    };
    return logFields.run({ pipeline: carrier.pipeline, requestId: randomUUID() }, async () => {
      const carry: Parameters<typeof answerPush>[1]['carry'] = (notification) =>
        // Who sends the same again before it is done must not take the place of others.
        gate.through(() => carrier.carry(notification, runtime, false));
      const answer = await answerPush(request, { push: open.pipeline.push, verify, carry });
      runtime.log.info('answered', { status: answer.status });
      return respond(context, answer.status === 429 ? { ...answer, headers: { 'retry-after': RETRY_AFTER } } : answer);
    });
  });
  app.onError((thrown, context) => {
    const { code, message } = asBrokerError(thrown);
    runtime.log.warn('request failed', { code, message });
    return respond(context, { status: 500, body: { error: { code } } });
  });

  const server = listen({ fetch: app.fetch, port, hostname: '0.0.0.0' });
  await once(server, 'listening').catch(async (error: unknown) => {
    await open[Symbol.asyncDispose]();
    throw cannotListen(error, port);
  });
  (server as Server).requestTimeout = REQUEST_MS;
  const actual = (server.address() as AddressInfo).port;
  runtime.log.info('serving', { port: actual, concurrency, queue: queue ?? 4 * concurrency });
  return { port: actual, stopped: stopped(server, runtime).finally(() => open[Symbol.asyncDispose]()) };
}

function cannotListen(error: unknown, port: number): BrokerError {
  const code = systemErrorCode(error);
  const why =
    code === 'EADDRINUSE'
      ? 'is in use'
      : code === 'EACCES'
        ? 'may not be opened by this user'
        : `cannot be opened: ${code}`;
  return new BrokerError('invalid_config', `port ${port} ${why}`, { hint: 'Choose another with --port or PORT.' });
}

function respond(context: Context, { status, headers = {}, body }: HttpAnswer): Response {
  return context.body(JSON.stringify(body), status as 200, { 'content-type': 'application/json', ...headers });
}

async function stopped(server: ServerType, runtime: Runtime): Promise<void> {
  if (!runtime.stop.aborted) await once(runtime.stop, 'abort');
  runtime.log.info('draining');
  const closed = once(server, 'close');
  server.close();
  (server as Server).closeIdleConnections();
  await closed;
}
