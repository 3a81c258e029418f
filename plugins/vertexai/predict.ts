import { asBrokerError, BrokerError } from '../../core/api/index.ts';
import { exactParse, type VertexApi } from './api.ts';
import type { PredictConfig, VertexConfig } from './config.ts';
import type { Tools } from './ledger.ts';
import type { Answer } from './part-answers.ts';
import { isJson, type Row } from './row-input.ts';
import type { Asking } from './row-mode.ts';

/** `endpoints/123` and models by their full names. */
export function endpointPath(
  endpoint: string,
  { project, location }: Pick<VertexConfig, 'project' | 'location'>,
): string {
  const parent = `projects/${project}/locations/${location}`;
  if (endpoint.startsWith('projects/')) return endpoint;
  return endpoint.startsWith('publishers/') ? `${parent}/${endpoint}` : `${parent}/endpoints/${endpoint}`;
}

/**
 * Online predictions: instances go in batches, and come back in order.
 *
 * Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict
 */
export class Predicting implements Asking {
  readonly location: string;
  readonly options: PredictConfig;
  readonly input: PredictConfig['instances'];
  readonly what: unknown;
  readonly #api: VertexApi;
  readonly #shared: VertexApi;
  readonly #path: string;
  readonly #tail: string;

  /** @param api of the endpoint, which may have a host of its own. @param shared knows what endpoints there are. */
  constructor(config: VertexConfig, predict: PredictConfig, api: VertexApi, shared: VertexApi) {
    this.#path = endpointPath(predict.endpoint, config);
    this.location = `vertexai://${this.#path}`;
    this.options = predict;
    this.input = predict.instances;
    const { concurrency, requestsPerMinute, maxFailedRatio, labels, ...what } = predict;
    this.what = [this.#path, what];
    this.#api = api;
    this.#shared = shared;
    const { parameters } = predict;
    const rest = {
      ...(parameters === undefined ? {} : { parameters }),
      ...(Object.keys(labels).length > 0 && { labels }),
    };
    const text = JSON.stringify(rest);
    this.#tail = text === '{}' ? '' : `,${text.slice(1, -1)}`;
  }

  async check(signal: AbortSignal): Promise<string> {
    if (!this.#path.includes('/endpoints/'))
      return `${this.#path}: publishers' models are not looked at before they are asked`;
    await this.#shared.get(this.#path, signal);
    return this.#path;
  }

  /** By count and by bytes, whatever is reached first. */
  async *batches(rows: AsyncIterable<Row>): AsyncGenerator<readonly Row[]> {
    const { batch, raw } = this.options;
    const most = raw ? 1 : batch.count;
    let open: Row[] = [];
    let bytes = 0;
    for await (const row of rows) {
      const size = Buffer.byteLength(row.text) + 1;
      if (open.length > 0 && (open.length >= most || bytes + size > batch.bytes)) {
        yield open;
        open = [];
        bytes = 0;
      }
      open.push(row);
      bytes += size;
    }
    if (open.length > 0) yield open;
  }

  ask(batch: readonly Row[], take: (answer: Answer) => void, tools: Tools, signal: AbortSignal): Promise<void> {
    return this.options.raw
      ? this.#raw(batch[0] as Row, take, tools, signal)
      : this.#predict(batch, take, tools, signal);
  }

  /** A request that is refused is halved, until the instances that are to blame stand alone. */
  async #predict(
    batch: readonly Row[],
    take: (answer: Answer) => void,
    tools: Tools,
    signal: AbortSignal,
  ): Promise<void> {
    const body = `{"instances":[${batch.map(({ text }) => text).join(',')}]${this.#tail}}`;
    const answer = await unlessRefused(this.#send(':predict', body, tools, signal));
    if (!(answer instanceof BrokerError)) {
      const { predictions } = exactParse(answer) as { readonly predictions?: readonly unknown[] };
      if (!Array.isArray(predictions) || predictions.length !== batch.length)
        throw new BrokerError(
          'bad_response',
          `${this.#path} answered ${predictions?.length ?? 0} predictions for ${batch.length} instances`,
        );
      for (const [index, row] of batch.entries())
        take({ row, line: this.#line(row, JSON.stringify(predictions[index])) });
      return;
    }
    const [only] = batch;
    if (only !== undefined && batch.length === 1) return take({ row: only, reason: answer.message });
    const middle = Math.ceil(batch.length / 2);
    const halves = [batch.slice(0, middle), batch.slice(middle)];
    // Both are over when it is, and what one was answered is not lost when the other fails.
    const ended = await Promise.allSettled(halves.map((half) => this.#predict(half, take, tools, signal)));
    const failed = ended.find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #raw(row: Row, take: (answer: Answer) => void, tools: Tools, signal: AbortSignal): Promise<void> {
    const answer = await unlessRefused(this.#send(':rawPredict', row.text, tools, signal));
    if (answer instanceof BrokerError) return take({ row, reason: answer.message });
    // Whatever the container answers, one line each.
    take({ row, line: this.#line(row, JSON.stringify(isJson(answer) ? exactParse(answer) : answer)) });
  }

  #send(verb: string, body: string, tools: Tools, signal: AbortSignal): Promise<string> {
    const turn = (ask: () => Promise<string>): Promise<string> =>
      tools.limits.run(() => {
        tools.spend({ requests: 1 });
        return ask();
      }, signal);
    return this.#api.text({ path: `${this.#path}${verb}`, body, signal, turn });
  }

  /** In the form of a batch prediction job: the instance, or its key, beside the prediction. */
  #line({ text }: Row, prediction: string): string {
    const { key } = this.options;
    if (key === undefined) return `{"instance":${text},"prediction":${prediction}}`;
    const value = (exactParse(text) as Readonly<Record<string, unknown>> | null)?.[key];
    return `{"key":${JSON.stringify(value ?? null)},"prediction":${prediction}}`;
  }
}

/** What is wrong with the request itself, instead of an answer. */
async function unlessRefused(answer: Promise<string>): Promise<string | BrokerError> {
  try {
    return await answer;
  } catch (thrown) {
    const error = asBrokerError(thrown);
    if (error.code !== 'invalid_request') throw error;
    return error;
  }
}
