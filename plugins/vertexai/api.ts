import { BrokerError, type RetryPolicy, retry } from '../../core/api/index.ts';
import { commonFailure, type FailedAnswer, type GoogleClient } from '../google/http.ts';

/** Google asks for few and patient retries. Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors */
const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 1000, maxDelayMs: 30_000 };

export interface TextRequest {
  readonly path: string;
  readonly body?: string;
  readonly signal: AbortSignal;
  /** Each try waits for its turn, and is counted. */
  readonly turn?: (ask: () => Promise<string>) => Promise<string>;
}

const atOnce = (ask: () => Promise<string>): Promise<string> => ask();

/**
 * The REST API where no client of Google is the better way: rows go through it as they are. (The REST fallback of the
 * client mangles lists in lists, and loses the answers of rawPredict.)
 */
export class VertexApi {
  readonly #client: GoogleClient;
  readonly #policy: RetryPolicy;

  constructor(client: GoogleClient, policy: RetryPolicy = PATIENCE) {
    this.#client = client;
    this.#policy = policy;
  }

  /** @param path behind `/v1/`. @throws BrokerError `invalid_request` for what is wrong with this very request. */
  async get(path: string, signal: AbortSignal): Promise<unknown> {
    return exactParse(await this.text({ path, signal }));
  }

  async post(path: string, body: string, signal: AbortSignal): Promise<unknown> {
    return exactParse(await this.text({ path, body, signal }));
  }

  /** Sent once: a second one would begin something twice. */
  async begin(path: string, body: string, signal: AbortSignal): Promise<unknown> {
    const request = { method: 'POST' as const, path: `/v1/${path}`, body, signal };
    return exactParse(await this.#client.getText(request, (answer) => failureOf(path, answer)));
  }

  /** The answer as it is. */
  text({ path, body, signal, turn = atOnce }: TextRequest): Promise<string> {
    const request = { path: `/v1/${path}`, signal, ...(body === undefined ? {} : { method: 'POST' as const, body }) };
    const ask = (): Promise<string> => this.#client.getText(request, (answer) => failureOf(path, answer));
    return retry(() => turn(ask), { policy: this.#policy, signal });
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

/** What a refusal means. `invalid_request` is about one request; anything else about all. */
export function failureOf(path: string, answer: FailedAnswer): BrokerError {
  const what = `ask ${path}`;
  const common = commonFailure(what, answer);
  if (common !== undefined) return common;
  const { status, message } = answer;
  const told = `${what}: HTTP ${status}: ${message}`;
  if (status === 403)
    return new BrokerError('unauthenticated', told, {
      hint: 'Grant roles/aiplatform.user on the project to the identity; `isthmus permissions` lists what else is needed.',
    });
  if (status === 404)
    return new BrokerError('invalid_config', told, {
      hint: 'Correct the model, endpoint, resource or location in the source.',
    });
  return new BrokerError('invalid_request', told);
}

const json = JSON as typeof JSON & { rawJSON?: (text: string) => unknown };

/** JSON whose numbers stay as they were written: what a double cannot hold is kept as text that is a number. */
export function exactParse(text: string): unknown {
  try {
    return JSON.parse(text, ((_: string, value: unknown, context?: { readonly source?: string }) => {
      const source = context?.source;
      if (typeof value !== 'number' || source === undefined || String(value) === source || json.rawJSON === undefined)
        return value;
      // 1.0 and 1e3 are numbers like any other; more digits than a double has are not.
      return /\d{16}/.test(source.replace('.', '')) ? json.rawJSON(source) : value;
    }) as (key: string, value: unknown) => unknown);
  } catch {
    throw new BrokerError('bad_response', 'Vertex AI: the answer is not JSON');
  }
}
