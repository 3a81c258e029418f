import { describe, expect, it } from 'vitest';
import { patternBody } from '../cloud/body.ts';
import { caught } from '../leaks.ts';
import {
  FUNCTION_ARN,
  functionOn,
  pipelineData,
  pushBody,
  pushToken,
  sqsEvent,
  testFunction,
  urlEvent,
} from './function.ts';

const generationOf = (source: { get(name: string): { generation: string } | undefined }, name: string): string =>
  source.get(name)?.generation ?? '';

describe('a direct invocation', () => {
  it.each([
    ['an empty event', {}],
    ['no payload at all', null],
    ['an EventBridge schedule', { version: '0', 'detail-type': 'Scheduled Event', source: 'aws.events', detail: {} }],
    [
      'EventBridge Scheduler',
      { version: '0', 'detail-type': 'Scheduled Event', source: 'aws.scheduler', detail: '{}' },
    ],
  ])('runs the whole pipeline for %s, and answers with the report', async (_, event) => {
    await using fn = await testFunction();
    fn.source.put('2026/a.txt', 'one');
    fn.source.put('2026/b.txt', 'two');
    expect(await fn.invoke(event)).toMatchObject({
      outcome: 'complete',
      message: 'exports: complete: 2 written; 6 B',
      items: { written: 2, failed: 0 },
      bytes: 6,
    });
    expect(fn.sink.bytes('raw/b.txt')?.toString()).toBe('two');
  });

  it.each(['2026/a.txt', 'gs://exports/2026/a.txt'])(
    'carries a single object, named %s, and answers as hand-written functions do',
    async (object) => {
      await using fn = await testFunction();
      fn.source.put('2026/a.txt', 'one');
      fn.source.put('2026/b.txt', 'two');
      expect(await fn.invoke({ object })).toMatchObject({
        outcome: 'complete',
        message: 'gs://exports/2026/a.txt was carried to s3://lake/raw/a.txt: 3 B, verified by its checksum',
        source: 'gs://exports/2026/a.txt',
        destination: 's3://lake/raw/a.txt',
        bytes_transferred: 3,
      });
      expect([...fn.sink.objects.keys()]).toEqual(['raw/a.txt']);
      expect(await fn.invoke({ object })).toMatchObject({
        outcome: 'complete',
        bytes_transferred: 0,
        message: /already/ as never,
      });
    },
  );

  it('claims no checksum of a store that confirms none: with proof: size it says so, else it fails', async () => {
    const sinkWith = (proof: string) => ({
      sink: { use: 's3', with: { bucket: 'lake', prefix: 'raw/', region: 'eu-west-1', proof } },
    });
    await using fn = await testFunction(pipelineData(sinkWith('size')));
    fn.source.put('2026/a.txt', 'one');
    const confirmed = { kind: 'answer', status: 200, headers: { etag: '"1"' } } as const;
    fn.cloud.s3.faults.add('PUT /lake/raw/a.txt', confirmed, Number.POSITIVE_INFINITY);
    expect(await fn.invoke({ object: '2026/a.txt' })).toMatchObject({
      message: 'gs://exports/2026/a.txt was carried to s3://lake/raw/a.txt: 3 B, proved by its size only',
    });
    const strict = functionOn(fn.cloud, pipelineData(sinkWith('checksum')));
    await expect(strict.invoke({ object: '2026/a.txt' })).rejects.toThrow(/the store confirmed no checksum/);
  });

  it('has a line in the log for every item of a batch that could not even begin', async () => {
    await using fn = await testFunction();
    await expect(fn.invoke({ Items: ['gs://other/1', 'gs://other/2'] })).rejects.toThrow(/2 of 2 could not begin/);
    expect(fn.lines.filter(({ event }) => event === 'not begun')).toMatchObject([
      { place: 0, code: 'outside_pipeline', message: expect.stringContaining('gs://other/1') },
      { place: 1, code: 'outside_pipeline', message: expect.stringContaining('gs://other/2') },
    ]);
  });

  it('carries a prefix and nothing beside it', async () => {
    await using fn = await testFunction();
    for (const name of ['2026/a/1', '2026/a/2', '2026/b/1', '2026/a', '2026/a0']) fn.source.put(name, name);
    expect(await fn.invoke({ prefix: '2026/a/' })).toMatchObject({ items: { written: 2 } });
    expect([...fn.sink.objects.keys()].sort()).toEqual(['raw/a/1', 'raw/a/2']);
  });

  it.each([
    [{ object: 'gs://other/2026/a.txt' }],
    [{ object: '2025/a.txt' }],
    [{ object: '2026/' }],
    [{ prefix: '2025/' }],
    [{ prefix: '20' }],
    [{ object: 's3://exports/2026/a.txt' }],
  ])('refuses %j, which is outside of the pipeline', async (event) => {
    await using fn = await testFunction();
    fn.source.put('2026/a.txt', 'one');
    expect(await caught(fn.invoke(event))).toMatchObject({ name: 'Isthmus.outside_pipeline' });
    expect(fn.sink.objects.size).toBe(0);
  });

  it('fails when an object that was named does not exist, and says so', async () => {
    await using fn = await testFunction();
    expect(await caught(fn.invoke({ object: '2026/none.txt' }))).toMatchObject({
      name: 'Isthmus.source_gone',
      message: expect.stringContaining('gs://exports/2026/none.txt does not exist'),
    });
  });

  it.each([
    [[], /found a list/],
    ['text', /found a string/],
    [7, /found a number/],
    [{ key: 'a' }, /found keys \[key\]/],
    [{ Records: [] }, /found keys \[Records\]/],
    [{ Records: [{ eventSource: 'aws:kinesis' }] }, /found keys \[Records\]/],
    [{ object: 7 }, /event\.object/],
    [{ object: 'a', prefix: 'b' }, /cannot be used together/],
    [{ object: '' }, /event\.object/],

    [{ resume: { runId: 'no' } }, /resume\.runId/],
    [{ 'detail-type': 'Something', source: 'mine' }, /found keys/],
    [{ __proto__: null, constructor: 1 }, /found keys \[constructor\]/],
  ])('refuses the event %j by name', async (event, message) => {
    await using fn = await testFunction();
    expect(await caught(fn.invoke(event))).toMatchObject({
      name: 'Isthmus.invalid_event',
      message: expect.stringMatching(message),
    });
    expect(fn.cloud.gcs.requests).toEqual([]);
  });

  it('refuses a name that is longer than any', async () => {
    await using fn = await testFunction();
    expect(await caught(fn.invoke({ object: 'x'.repeat(5000) }))).toMatchObject({ name: 'Isthmus.invalid_event' });
  });

  it('never repeats what an event holds besides the names of its keys', async () => {
    await using fn = await testFunction();
    const error = (await caught(fn.invoke({ password: 'cAnArYsecret' }))) as Error;
    expect(error.message).toContain('[password]');
    expect(JSON.stringify(fn.lines)).not.toContain('cAnArY');
  });
});

describe('a run that fails', () => {
  it('makes the invocation fail, with the code as its error type', async () => {
    await using fn = await testFunction();
    fn.cloud.s3.buckets.delete('lake');
    fn.source.put('2026/a.txt', 'one');
    expect(await caught(fn.invoke({}))).toMatchObject({ name: 'Isthmus.bucket_missing' });
  });

  it('makes the invocation fail when only some of it was carried, naming what was not', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/good.txt', 'one');
    fn.source.put('2026/bad.txt', 'x', { metadata: { note: 'n'.repeat(3000) } });
    expect(await caught(fn.invoke({}))).toMatchObject({
      name: 'Isthmus.partial',
      message: expect.stringMatching(/metadata_refused/),
    });
    expect(fn.sink.objects.size).toBe(1);
  });

  it('says which variables are missing, at every invocation, until they are there', async () => {
    const sink = { use: 's3', with: { bucket: `$\{LAKE}`, region: 'eu-west-1' } };
    await using fn = await testFunction(pipelineData({ sink }));
    for (let time = 0; time < 2; time++)
      expect(await caught(fn.invoke({}))).toMatchObject({
        name: 'Isthmus.invalid_config',
        message: expect.stringContaining('environment variable LAKE is not set'),
      });
  });

  it('names a plugin that is not in the bundle', async () => {
    await using fn = await testFunction(pipelineData({ source: { use: 'ftp', with: {} } }));
    expect(await caught(fn.invoke({}))).toMatchObject({ message: expect.stringContaining('unknown source "ftp"') });
  });
});

describe('notifications of objects', () => {
  const record = (key: string, bucket = 'exports', eventName = 'ObjectCreated:Put') => ({
    eventVersion: '2.1',
    eventSource: 'aws:s3',
    eventTime: new Date().toISOString(),
    eventName,
    s3: { bucket: { name: bucket }, object: { key, size: 1 } },
  });

  it('ignores those of another store, and says so: this pipeline reads from Cloud Storage', async () => {
    await using fn = await testFunction();
    expect(await fn.invoke({ Records: [record('2026/a.txt')] })).toMatchObject({
      outcome: 'ignored',
      message: 's3://exports/2026/a.txt is not in the source of this pipeline',
    });
  });

  it('takes the test message of S3 for what it is', async () => {
    await using fn = await testFunction();
    const event = { Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'b' };
    expect(await fn.invoke(event)).toMatchObject({ outcome: 'ignored', message: expect.stringContaining('test') });
  });

  it('carries a pushed object once its sender is proved, and answers 200 when it is in S3', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/ä b/c+d.txt', 'one');
    const push = pushBody('2026/ä b/c+d.txt', generationOf(fn.source, '2026/ä b/c+d.txt'));
    const answer = await fn.invoke(urlEvent(push, pushToken(fn.cloud)));
    expect(answer).toMatchObject({ statusCode: 200 });
    expect(JSON.parse(String(answer.body))).toMatchObject({ outcome: 'complete', bytes_transferred: 3 });
    expect(fn.sink.bytes('raw/ä b/c+d.txt')?.toString()).toBe('one');
  });

  it('reads the request of a REST API as well, with headers in any case and a body in base64', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', 'one');
    const body = Buffer.from(JSON.stringify(pushBody('2026/a', generationOf(fn.source, '2026/a')))).toString('base64');
    const headers = { 'Content-Type': 'application/json', AUTHORIZATION: pushToken(fn.cloud) };
    const event = {
      resource: '/',
      path: '/',
      httpMethod: 'POST',
      headers,
      requestContext: {},
      body,
      isBase64Encoded: true,
    };
    expect(await fn.invoke(event)).toMatchObject({ statusCode: 200 });
    expect(fn.sink.bytes('raw/a')?.toString()).toBe('one');
  });

  it('carries a message that comes twice, also at once, only once', async () => {
    await using fn = await testFunction(pipelineData({ compare: 'always' }));
    fn.source.put('2026/a', 'one');
    const event = urlEvent(pushBody('2026/a', generationOf(fn.source, '2026/a')), pushToken(fn.cloud));
    const answers = await Promise.all([fn.invoke(event), fn.invoke(event), fn.invoke(event)]);
    const outcomes = answers.map(({ body }) => (JSON.parse(String(body)) as { outcome: string }).outcome);
    expect(outcomes.sort()).toEqual(['complete', 'ignored', 'ignored']);
    expect(
      fn.cloud.s3.requests.filter(({ method, target }) => method === 'PUT' && target.startsWith('/lake')),
    ).toHaveLength(1);
  });

  it('carries the newest generation for an older message, and nothing for the older one that comes late', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', 'old');
    const old = generationOf(fn.source, '2026/a');
    fn.source.put('2026/a', 'new');
    const late = pushBody('2026/a', old);
    expect(await fn.invoke(urlEvent(late, pushToken(fn.cloud)))).toMatchObject({ statusCode: 200 });
    expect(fn.sink.bytes('raw/a')?.toString()).toBe('new');
    const again = await fn.invoke(urlEvent(late, pushToken(fn.cloud)));
    expect(JSON.parse(String(again.body))).toMatchObject({ outcome: 'ignored' });
  });

  it.each([
    ['an object that is gone', '2026/gone', 'OBJECT_FINALIZE', 'exports'],
    ['an object outside of the prefix', '2025/a', 'OBJECT_FINALIZE', 'exports'],
    ['an object of another bucket', '2026/a', 'OBJECT_FINALIZE', 'other'],
    ['a deletion', '2026/kept', 'OBJECT_DELETE', 'exports'],
    ['an archived generation', '2026/kept', 'OBJECT_ARCHIVE', 'exports'],
  ])('acknowledges %s and deletes nothing', async (_, name, type, bucket) => {
    await using fn = await testFunction();
    fn.source.put('2026/kept', 'one');
    await fn.invoke({});
    const answer = await fn.invoke(urlEvent(pushBody(name, '1', type, bucket), pushToken(fn.cloud)));
    expect(answer).toMatchObject({ statusCode: 200 });
    expect(JSON.parse(String(answer.body))).toMatchObject({ outcome: 'ignored' });
    expect([...fn.sink.objects.keys()]).toEqual(['raw/kept']);
  });

  it('answers 503 to what may pass, 422 to an object that can never be carried, 500 to what is ours to mend', async () => {
    await using fn = await testFunction(pipelineData({ retry: { attempts: 1 } }));
    const never = '2026/never';
    fn.source.put('2026/a', 'one');
    fn.source.put(never, 'two', { metadata: { note: 'n'.repeat(3000) } });
    const push = (name: string) =>
      fn.invoke(urlEvent(pushBody(name, generationOf(fn.source, name)), pushToken(fn.cloud)));
    fn.cloud.s3.faults.add('PUT /lake', { kind: 'answer', status: 503 }, 4);
    expect(await push('2026/a')).toMatchObject({ statusCode: 503, headers: { 'retry-after': '30' } });
    expect(await push(never)).toMatchObject({ statusCode: 422 });
    fn.cloud.s3.buckets.delete('lake');
    expect(await push('2026/a')).toMatchObject({ statusCode: 500 });
  });
});

describe('a push that must not be believed', () => {
  const cases: [string, number, (fn: Awaited<ReturnType<typeof testFunction>>) => object][] = [
    ['has no token', 401, () => urlEvent(pushBody('2026/a', '1'))],
    ['has a token that is none', 401, () => urlEvent(pushBody('2026/a', '1'), 'Bearer abc')],
    ['was signed by nobody', 401, ({ cloud }) => urlEvent(pushBody('2026/a', '1'), unsigned(pushToken(cloud)))],
    [
      'was signed by somebody else',
      401,
      ({ cloud }) => urlEvent(pushBody('2026/a', '1'), `Bearer ${cloud.cluster.token({ aud: 'x', email: 'y' })}`),
    ],
    [
      'was changed after it was signed',
      401,
      ({ cloud }) => urlEvent(pushBody('2026/a', '1'), changed(pushToken(cloud))),
    ],
    ['has expired', 401, ({ cloud }) => urlEvent(pushBody('2026/a', '1'), pushToken(cloud, {}, -120))],
    [
      'comes from another issuer',
      401,
      ({ cloud }) => urlEvent(pushBody('2026/a', '1'), pushToken(cloud, { iss: 'https://evil.example' })),
    ],
    [
      'is for another audience',
      403,
      ({ cloud }) => urlEvent(pushBody('2026/a', '1'), pushToken(cloud, { aud: 'https://other' })),
    ],
    [
      'comes from another account',
      403,
      ({ cloud }) =>
        urlEvent(pushBody('2026/a', '1'), pushToken(cloud, { email: 'evil@acme.iam.gserviceaccount.com' })),
    ],
    [
      'has an e-mail address that nobody verified',
      403,
      ({ cloud }) => urlEvent(pushBody('2026/a', '1'), pushToken(cloud, { email_verified: false })),
    ],
    ['is no POST', 405, ({ cloud }) => urlEvent(pushBody('2026/a', '1'), pushToken(cloud), 'GET')],
    ['is not JSON', 400, ({ cloud }) => urlEvent('{"message":', pushToken(cloud))],
    [
      'is no notification',
      400,
      ({ cloud }) => urlEvent({ message: { data: 'x' }, subscription: 's' }, pushToken(cloud)),
    ],
    [
      'is a bare S3 notification',
      400,
      ({ cloud }) => urlEvent({ Service: 'Amazon S3', Event: 's3:TestEvent' }, pushToken(cloud)),
    ],
    ['is far too large', 413, ({ cloud }) => urlEvent('x'.repeat(2 ** 20 + 1), pushToken(cloud))],
  ];

  it.each(cases)('%s: %i, and nothing is read or written', async (_, status, event) => {
    await using fn = await testFunction();
    fn.source.put('2026/a', 'one');
    const answer = await fn.invoke(event(fn));
    expect(answer).toMatchObject({ statusCode: status });
    expect(String(answer.body)).not.toMatch(/eyJ/);
    expect(fn.sink.objects.size).toBe(0);
    expect(fn.cloud.gcs.requests).toEqual([]);
  });

  it('is refused where the pipeline has no `push`, or comes from another subscription than it names', async () => {
    const { push: _, ...closed } = pipelineData() as Record<string, never>;
    await using none = await testFunction(closed);
    expect(await none.invoke(urlEvent(pushBody('2026/a', '1'), pushToken(none.cloud)))).toMatchObject({
      statusCode: 403,
    });
    const { push } = pipelineData() as { push: object };
    await using other = await testFunction(
      pipelineData({ push: { ...push, subscription: 'projects/acme/subscriptions/mine' } }),
    );
    expect(await other.invoke(urlEvent(pushBody('2026/a', '1'), pushToken(other.cloud)))).toMatchObject({
      statusCode: 403,
    });
  });

  it('gets 500 and not a yes when the keys of Google cannot be had', async () => {
    await using fn = await testFunction();
    fn.cloud.googleCerts.faults.add('GET /oauth2/v3/certs', { kind: 'answer', status: 500 });
    expect(await fn.invoke(urlEvent(pushBody('2026/a', '1'), pushToken(fn.cloud)))).toMatchObject({ statusCode: 503 });
  });
});

const unsigned = (token: string): string => {
  const [, payload] = token.split('.');
  return `Bearer ${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.x`;
};
const changed = (token: string): string => {
  const [header, , signature] = token.split('.');
  const claims = {
    iss: 'https://accounts.google.com',
    aud: 'https://function.lambda-url.eu-west-1.on.aws/',
    exp: 9_999_999_999,
  };
  return `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`;
};

describe('a batch of a queue', () => {
  it('carries every message and reports none as failed', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', '1');
    fn.source.put('2026/b', '2');
    const sns = { Type: 'Notification', TopicArn: 'arn:aws:sns:x', Message: JSON.stringify({ object: '2026/b' }) };
    const event = sqsEvent([pushBody('2026/a', generationOf(fn.source, '2026/a')), { object: '2026/b' }]);
    expect(await fn.invoke(event)).toEqual({ batchItemFailures: [] });
    expect([...fn.sink.objects.keys()].sort()).toEqual(['raw/a', 'raw/b']);
    // An envelope around something that is no notification is told, not guessed at.
    expect(await fn.invoke(sqsEvent([sns]))).toEqual({ batchItemFailures: [{ itemIdentifier: 'm0' }] });
  });

  it('names only the messages that failed: malformed ones, objects that are not there, objects outside', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', '1');
    const bodies = [
      '{',
      { object: '2026/a' },
      { object: 'gs://other/x' },
      { object: '2026/none' },
      '[]',
      { resume: {} },
    ];
    const answer = (await fn.invoke(sqsEvent(bodies))) as { batchItemFailures: { itemIdentifier: string }[] };
    expect(answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)).toEqual([
      'm0',
      'm2',
      'm3',
      'm4',
      'm5',
    ]);
    expect(fn.sink.bytes('raw/a')?.toString()).toBe('1');
    expect(fn.lines.filter(({ event }) => event === 'message failed')).toHaveLength(5);
  });

  it('keeps the order of a FIFO group: after the first that fails none of it is carried', async () => {
    await using fn = await testFunction();
    for (const name of ['a', 'b', 'c']) fn.source.put(`2026/${name}`, name);
    const event = sqsEvent([{ object: '2026/a' }, { object: '2026/none' }, { object: '2026/c' }], 'g');
    expect(await fn.invoke(event)).toEqual({ batchItemFailures: [{ itemIdentifier: 'm1' }, { itemIdentifier: 'm2' }] });
    expect([...fn.sink.objects.keys()]).toEqual(['raw/a']);
  });

  it('gives back what there was no time for', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', '1');
    expect(await fn.invoke(sqsEvent([{ object: '2026/a' }]), -1)).toEqual({
      batchItemFailures: [{ itemIdentifier: 'm0' }],
    });
    expect(fn.cloud.s3.requests).toEqual([]);
    expect(fn.sink.objects.size).toBe(0);
  });
});

describe('a task of Step Functions', () => {
  it('carries the items of a Distributed Map and answers for them together', async () => {
    await using fn = await testFunction();
    for (const name of ['a', 'b', 'c']) fn.source.put(`2026/${name}`, name);
    const event = { BatchInput: { any: 'thing' }, Items: ['2026/a', { object: '2026/b' }, { prefix: '2026/c' }] };
    expect(await fn.invoke(event)).toMatchObject({ outcome: 'complete', message: '3 carried, 0 ignored, 0 failed' });
    expect(fn.sink.objects.size).toBe(3);
  });

  it('fails when one of them fails, after the others were carried', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', '1');
    expect(await caught(fn.invoke({ Items: ['2026/none', '2026/a'] }))).toMatchObject({ name: 'Isthmus.source_gone' });
    expect([...fn.sink.objects.keys()]).toEqual(['raw/a']);
  });
});

describe('a run that needs more than one invocation', () => {
  const many = async (data = pipelineData({ concurrency: 1 })) => {
    const fn = await testFunction(data);
    for (let n = 0; n < 30; n++) fn.source.put(`2026/${String(n).padStart(2, '0')}`, `value ${n}`);
    // Each write takes its time, so that the deadline comes in the middle.
    fn.cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 60 }, Number.POSITIVE_INFINITY);
    return fn;
  };

  it('stops in time, saves its checkpoint, says paused, and goes on when its own answer is passed back', async () => {
    await using fn = await many();
    const first = await fn.invoke({}, 1500);
    expect(first).toMatchObject({ outcome: 'paused', resume: { hop: 1 } });
    expect(fn.sink.objects.size).toBeGreaterThan(0);
    expect(fn.sink.objects.size).toBeLessThan(30);
    expect(fn.state.objects.size).toBe(1);
    let answer = first;
    for (let hop = 2; answer.outcome === 'paused' && hop < 20; hop++) answer = await fn.invoke(answer, 1500);
    expect(answer).toMatchObject({ outcome: 'complete', runId: first.runId, items: { written: 30 } });
    expect(fn.sink.objects.size).toBe(30);
    expect([...fn.state.objects.keys()]).toEqual([expect.stringContaining('history')]);
    expect(fn.cloud.s3.pendingUploads()).toBe(0);
  });

  it('calls itself again when the pipeline says so, and each call goes on with the same run', async () => {
    await using fn = await many(pipelineData({ concurrency: 1, deploy: { continue: 'self' } }));
    let answer = await fn.invoke({}, 1500);
    expect(answer).toMatchObject({ outcome: 'paused', continued: true });
    for (let hop = 0; answer.outcome === 'paused' && hop < 20; hop++) {
      const call = fn.cloud.lambda.invocations[hop];
      expect(call).toMatchObject({ functionName: 'isthmus-exports', payload: { resume: { hop: hop + 1 } } });
      answer = await fn.invoke(call?.payload, 1500);
    }
    expect(answer).toMatchObject({ outcome: 'complete', items: { written: 30 } });
  });

  it('fails when it may not call itself: whoever called is told, and can go on', async () => {
    await using fn = await many(pipelineData({ concurrency: 1, deploy: { continue: 'self' } }));
    fn.cloud.lambda.policy = [];
    expect(await caught(fn.invoke({}, 1500))).toMatchObject({
      name: 'Isthmus.permission_denied',
      message: expect.stringContaining('lambda:InvokeFunction'),
    });
    expect(fn.state.objects.size).toBe(1);
  });

  it('ends a run that is continued without getting any further, instead of paying for it for ever', async () => {
    await using fn = await testFunction(pipelineData({ deploy: { continue: 'self' } }));
    fn.source.put('2026/a', patternBody(100));
    fn.cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 5000 }, Number.POSITIVE_INFINITY);
    const first = await fn.invoke({}, 1500);
    expect(first).toMatchObject({ outcome: 'paused', continued: true });
    const [call] = fn.cloud.lambda.invocations;
    expect(await caught(fn.invoke(call?.payload, 1500))).toMatchObject({ name: 'Isthmus.no_progress' });
    expect(fn.cloud.lambda.invocations).toHaveLength(1);
  });

  it('does nothing for a continuation that comes twice, when the run is over', async () => {
    await using fn = await many();
    const first = await fn.invoke({}, 1500);
    let answer = first;
    for (let hop = 2; answer.outcome === 'paused' && hop < 20; hop++) answer = await fn.invoke(answer, 1500);
    const writes = fn.cloud.s3.requests.length;
    expect(await fn.invoke(first)).toMatchObject({ outcome: 'ignored' });
    expect(fn.cloud.s3.requests.slice(writes).every(({ target }) => target.startsWith('/state'))).toBe(true);
  });

  it('begins nothing when the deadline has passed already', async () => {
    await using fn = await many();
    expect(await caught(fn.invoke({}, -5))).toMatchObject({ name: 'Isthmus.stopped' });
    expect(fn.cloud.gcs.requests).toEqual([]);
    expect(fn.sink.objects.size).toBe(0);
  });
});

describe('the log of a function', () => {
  it('has one JSON line an event, each with pipeline, request id and, once there is one, run id', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', 'one');
    const { runId } = await fn.invoke({});
    const events = fn.lines.filter((line) => !('_aws' in line));
    expect(events.map(({ event }) => event)).toEqual(['invoked', 'run started', 'item', 'run finished']);
    for (const line of events)
      expect(line).toMatchObject({ pipeline: 'exports', requestId: expect.any(String), level: 'info' });
    for (const line of events.slice(1)) expect(line).toMatchObject({ runId });
    expect(FUNCTION_ARN).toContain('isthmus-exports');
  });

  it('keeps credentials from one invocation to the next', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', 'one');
    await fn.invoke({});
    await fn.invoke({});
    await fn.invoke({});
    expect(fn.cloud.googleSts.requests).toHaveLength(1);
    expect(fn.cloud.iamCredentials.requests).toHaveLength(1);
  });
});

describe('the doctor in the function', () => {
  it('walks the chain where it runs, step by step, and carries nothing', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/a', 'one');
    const answer = await fn.invoke({ doctor: true });
    expect(answer).toMatchObject({ outcome: 'complete', exitCode: 0, message: 'healthy' });
    const steps = (answer.findings as { step: string }[]).map(({ step }) => step);
    for (const step of [
      'runtime',
      'config',
      'aws-source',
      'aws-identity',
      'google-sts',
      'impersonation',
      'source',
      'sink',
    ])
      expect(steps).toContain(step);
    expect(fn.sink.objects.size).toBe(0);
    expect(fn.cloud.s3.pendingUploads()).toBe(0);
  });

  it('tries the state too: a checkpoint is saved and deleted', async () => {
    await using fn = await testFunction();
    const healthy = (await fn.invoke({ doctor: true })).findings as { step: string; verdict: string; detail: string }[];
    expect(healthy.find(({ step }) => step === 'state')).toMatchObject({ verdict: 'pass' });
    expect(fn.state.objects.size).toBe(0);
    fn.cloud.s3.buckets.delete('state');
    const answer = await fn.invoke({ doctor: true });
    expect(answer).toMatchObject({ outcome: 'failed', exitCode: 21 });
  });

  it('answers with the step that failed and its fix, where the run would only fail', async () => {
    await using fn = await testFunction();
    fn.cloud.googleSts.providers.length = 0;
    const answer = await fn.invoke({ doctor: true });
    expect(answer).toMatchObject({ outcome: 'failed', exitCode: 14 });
    const findings = answer.findings as { verdict: string; fix?: string; step: string }[];
    expect(findings.find(({ verdict }) => verdict === 'fail')).toMatchObject({
      step: 'google-sts',
      fix: expect.any(String),
    });
  });
});
