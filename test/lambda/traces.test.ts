import { trace } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { tracingFrom } from '../../core/runtime/traces.ts';
import { caught } from '../leaks.ts';
import { pipelineData, testFunction } from './function.ts';

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

// As a layer, or `node --import`, sets it up.
beforeAll(() => {
  trace.setGlobalTracerProvider(provider);
});
afterAll(() => trace.disable());

it('a run is a span, and what it moved are its children, where OpenTelemetry is set up', async () => {
  await using fn = await testFunction(pipelineData(), { OTEL_SERVICE_NAME: 'exports' });
  fn.source.put('2026/a', 'one');
  fn.source.put('2026/bad', 'x', { metadata: { note: 'n'.repeat(3000) } });
  await caught(fn.invoke({}));
  const spans = exporter.getFinishedSpans();
  const run = spans.find(({ name }) => name === 'isthmus.run');
  expect(run?.attributes).toMatchObject({
    'isthmus.pipeline': 'exports',
    'isthmus.run_id': expect.any(String),
    'isthmus.outcome': 'partial',
    'isthmus.items.written': 1,
    'isthmus.bytes': 3,
  });
  expect(run?.status).toMatchObject({ code: 2, message: 'partial' });
  const transfers = spans.filter(({ name }) => name === 'isthmus.transfer');
  expect(
    transfers
      .map(({ attributes, status }) => [attributes['isthmus.key'], attributes['isthmus.outcome'], status.code])
      .sort(),
  ).toEqual([
    ['a', 'written', 0],
    ['bad', 'refused', 2],
  ]);
  for (const span of transfers) expect(span.parentSpanContext?.spanId).toBe(run?.spanContext().spanId);
});

it.each([[{}], [{ OTEL_SDK_DISABLED: 'true' }], [{ OTEL_TRACES_EXPORTER: 'none', OTEL_SERVICE_NAME: 'x' }]])(
  'with %j nothing is traced, and nothing loaded',
  async (environment) => {
    expect(await tracingFrom(environment)).toBeUndefined();
  },
);
