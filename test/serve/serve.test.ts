import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { packaged } from '../../config/packaged.ts';
import { plugins } from '../../config/plugins.ts';
import { Gate } from '../../core/runtime/serve/gate.ts';
import { serve } from '../../core/runtime/serve/server.ts';
import { LOCAL_SERVICE_ACCOUNT, localCloud } from '../cloud/local-cloud.ts';
import { pipelineData, pushBody, pushToken } from '../lambda/function.ts';
import { caught } from '../leaks.ts';

/** The server of a packaged pipeline, on a port of its own. */
async function served(more: Parameters<typeof pipelineData>[0] = {}, queue?: number) {
  const cloud = await localCloud();
  const source = cloud.gcs.bucket('exports', [LOCAL_SERVICE_ACCOUNT]);
  const sink = cloud.s3.bucket('lake');
  cloud.s3.bucket('state');
  const lines: Record<string, unknown>[] = [];
  const parts = {
    environment: cloud.environment,
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  };
  const { ready, verify, log } = packaged({ data: pipelineData(more), plugins, url: import.meta.url }, parts);
  const [stop, end] = [new AbortController(), new AbortController()];
  const runtime = { signal: end.signal, stop: stop.signal, log, now: Date.now };
  const server = await serve({ ready, verify, runtime, port: 0, queue });
  const url = `http://127.0.0.1:${server.port}`;
  return {
    cloud,
    source,
    sink,
    lines,
    url,
    server,
    stop,
    end,
    push: (name: string, headers: Record<string, string> = { authorization: pushToken(cloud) }) =>
      fetch(`${url}/`, {
        method: 'POST',
        headers,
        body: JSON.stringify(pushBody(name, source.get(name)?.generation ?? '1')),
      }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      end.abort();
      await server.stopped;
      await cloud[Symbol.asyncDispose]();
    },
  };
}

describe('a container that serves', () => {
  it('acknowledges a push when its object is in S3, and not before', async () => {
    await using fixture = await served();
    const { source, sink, push } = fixture;
    source.put('2026/a', 'one');
    const answer = await push('2026/a');
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ outcome: 'complete', destination: 's3://lake/raw/a' });
    expect(sink.bytes('raw/a')?.toString()).toBe('one');
  });

  it('believes no push without the token of its sender', async () => {
    await using fixture = await served();
    const { cloud, source, sink, push } = fixture;
    source.put('2026/a', 'one');
    expect((await push('2026/a', {})).status).toBe(401);
    expect((await push('2026/a', { authorization: pushToken(cloud, { aud: 'other' }) })).status).toBe(403);
    expect(sink.objects.size).toBe(0);
  });

  it('says that it lives and that it is ready, without a token', async () => {
    await using fixture = await served();
    for (const path of ['/healthz', '/readyz']) expect((await fetch(fixture.url + path)).status).toBe(200);
    expect((await fetch(`${fixture.url}/other`)).status).toBe(404);
    expect((await fetch(fixture.url)).status).toBe(405);
  });

  it('counts in the format of Prometheus', async () => {
    await using fixture = await served();
    const { source, push, url } = fixture;
    source.put('2026/a', 'one');
    source.put('2026/b', 'two', { metadata: { note: 'n'.repeat(3000) } });
    await push('2026/a');
    await push('2026/b');
    const answer = await fetch(`${url}/metrics`);
    expect(answer.headers.get('content-type')).toContain('text/plain');
    const text = await answer.text();
    for (const line of [
      'isthmus_runs_total{pipeline="exports",outcome="complete"} 1',
      'isthmus_runs_total{pipeline="exports",outcome="failed"} 1',
      'isthmus_objects_total{pipeline="exports",outcome="written"} 1',
      'isthmus_objects_total{pipeline="exports",outcome="refused"} 1',
      'isthmus_written_bytes_total{pipeline="exports"} 3',
      'isthmus_token_refreshes_total{pipeline="exports"} 2',
      'isthmus_lag_seconds_count{pipeline="exports"} 2',
      'isthmus_under_way 0',
    ])
      expect(text).toContain(line);
  });

  it('carries so many at once, lets so many wait, and sends the others away to come again', async () => {
    await using fixture = await served({ concurrency: 1 }, 2);
    const { source, sink, push, cloud, url } = fixture;
    for (const name of ['a', 'b', 'c', 'd', 'e']) source.put(`2026/${name}`, name);
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    cloud.s3.hold = held;
    const first = push('2026/a');
    await until(async () => (await (await fetch(`${url}/metrics`)).text()).includes('isthmus_under_way 1'));
    const waiting = [push('2026/b'), push('2026/c')];
    await until(async () => (await (await fetch(`${url}/metrics`)).text()).includes('isthmus_waiting 2'));
    const sentAway = await push('2026/d');
    expect(sentAway.status).toBe(429);
    expect(sentAway.headers.get('retry-after')).toBe('5');
    cloud.s3.hold = undefined;
    release();
    for (const answer of await Promise.all([first, ...waiting])) expect(answer.status).toBe(200);
    expect([...sink.objects.keys()].sort()).toEqual(['raw/a', 'raw/b', 'raw/c']);
    expect((await push('2026/d')).status).toBe(200);
  });

  it('sends the same object away while it is under way: it must not take the places of others', async () => {
    await using fixture = await served({ concurrency: 2 }, 1);
    const { source, push, cloud, url } = fixture;
    for (const name of ['slow', 'other']) source.put(`2026/${name}`, name);
    let release = (): void => {};
    cloud.s3.hold = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = push('2026/slow');
    await until(async () => (await (await fetch(`${url}/metrics`)).text()).includes('isthmus_under_way 1'));
    for (let time = 0; time < 4; time++) expect((await push('2026/slow')).status).toBe(429);
    cloud.s3.hold = undefined;
    expect((await push('2026/other')).status).toBe(200);
    release();
    expect((await slow).status).toBe(200);
  });

  it('does not let those wait who cannot prove who they are', async () => {
    await using fixture = await served({ concurrency: 1 }, 1);
    const { source, push, cloud, url } = fixture;
    for (const name of ['a', 'b']) source.put(`2026/${name}`, name);
    let release = (): void => {};
    cloud.s3.hold = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = push('2026/a');
    await until(async () => (await (await fetch(`${url}/metrics`)).text()).includes('isthmus_under_way 1'));
    for (let n = 0; n < 5; n++) expect((await push('2026/b', {})).status).toBe(401);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('isthmus_waiting 0');
    cloud.s3.hold = undefined;
    release();
    expect((await first).status).toBe(200);
  });

  it('refuses a body that is too large, announced or not, and one that never ends', async () => {
    await using fixture = await served();
    const { url, cloud } = fixture;
    const authorization = pushToken(cloud);
    const large = await fetch(url, { method: 'POST', headers: { authorization }, body: 'x'.repeat(2 ** 20 + 1) });
    expect(large.status).toBe(413);
    const sent = httpRequest(url, { method: 'POST', headers: { authorization, 'transfer-encoding': 'chunked' } });
    sent.on('error', () => {});
    const answered = once(sent, 'response');
    for (let n = 0; n < 20; n++) sent.write('x'.repeat(100_000));
    const [response] = await answered;
    expect(response.statusCode).toBe(413);
    sent.destroy();
  });

  it('says that its port is taken, and is not called a defect', async () => {
    await using fixture = await served();
    const { ready, verify, log } = packaged(
      { data: pipelineData(), plugins, url: import.meta.url },
      { environment: fixture.cloud.environment, write: () => {} },
    );
    const never = new AbortController().signal;
    const runtime = { signal: never, stop: never, log, now: Date.now };
    expect(await caught(serve({ ready, verify, runtime, port: fixture.server.port }))).toMatchObject({
      code: 'invalid_config',
      message: `port ${fixture.server.port} is in use`,
    });
  });

  it('outlives whoever speaks no HTTP', async () => {
    await using fixture = await served();
    const { port } = new URL(fixture.url);
    for (const noise of [
      '\0\0\0\0',
      'GET / HTTP/9.9\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n',
    ]) {
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('error', () => {}).resume();
      socket.end(noise);
      await once(socket, 'close');
    }
    expect((await fetch(`${fixture.url}/healthz`)).status).toBe(200);
  });

  it('asked to stop, answers what is under way, takes nothing new, and ends', async () => {
    await using fixture = await served();
    const { source, sink, push, cloud, url, stop, server } = fixture;
    source.put('2026/a', 'one');
    let release = (): void => {};
    cloud.s3.hold = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = push('2026/a');
    await until(async () => (await (await fetch(`${url}/metrics`)).text()).includes('isthmus_under_way 1'));
    // A connection that was open before may still be used; what is asked on it is answered honestly.
    stop.abort();
    expect(await caught(fetch(`${url}/readyz`))).toBeInstanceOf(Error);
    cloud.s3.hold = undefined;
    release();
    const answer = await first;
    // What was begun before the stop is either carried whole or said not to be.
    expect(sink.objects.has('raw/a')).toBe(answer.status === 200);
    await server.stopped;
    expect(cloud.s3.pendingUploads()).toBe(0);
  });
});

describe('a gate', () => {
  it('hands a place over to who waits longest, and is empty in the end', async () => {
    const gate = new Gate(2, 10);
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        gate.through(async () => {
          order.push(n);
          expect(gate.inside).toBeLessThanOrEqual(2);
          await Promise.resolve();
        }),
      ),
    );
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect([gate.inside, gate.waiting]).toEqual([0, 0]);
  });

  it('keeps its places when work fails', async () => {
    const gate = new Gate(1, 1);
    const failing = gate.through(() => Promise.reject(new Error('no')));
    const next = gate.through(async () => 'yes');
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('yes');
    expect(gate.inside).toBe(0);
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}
