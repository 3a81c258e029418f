import { asBrokerError, BrokerError, type Facts, z } from '../../core/api/index.ts';
import { type GeminiAnswer, isMore, readAnswer, refusalOf, textOf, usageOf } from './answer.ts';
import { exactParse, type VertexApi } from './api.ts';
import type { GenerateConfig, VertexConfig } from './config.ts';
import type { Tools } from './ledger.ts';
import type { Answer } from './part-answers.ts';
import type { Row } from './row-input.ts';
import type { Asking } from './row-mode.ts';
import { filled } from './template.ts';

/** `gemini-2.5-flash`, or a full name. */
export function modelPath(model: string, { project, location }: Pick<VertexConfig, 'project' | 'location'>): string {
  const parent = `projects/${project}/locations/${location}`;
  if (model.startsWith('projects/')) return model;
  return model.includes('/') ? `${parent}/${model}` : `${parent}/publishers/google/models/${model}`;
}

/**
 * Answers of Gemini, one for each row; checked, counted, and never more of them than the budget allows.
 *
 * Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models/generateContent
 */
export class Generating implements Asking {
  readonly location: string;
  readonly options: GenerateConfig;
  readonly input: NonNullable<GenerateConfig['rows']>;
  readonly what: unknown;
  readonly #api: VertexApi;
  readonly #path: string;
  readonly #fixed: Readonly<Record<string, unknown>>;
  readonly #schema: z.ZodType | undefined;

  constructor(config: VertexConfig, generate: GenerateConfig, api: VertexApi, pipeline: string) {
    this.#path = modelPath(generate.model, config);
    this.location = `vertexai://${this.#path}`;
    this.options = generate;
    this.input = generate.rows ?? [];
    const { budget: _, concurrency, requestsPerMinute, tokensPerMinute, maxFailedRatio, labels, ...what } = generate;
    this.what = [this.#path, what];
    this.#api = api;
    this.#schema = schemaOf(generate.schema);
    this.#fixed = fixedParts(generate, pipeline);
  }

  async *batches(rows: AsyncIterable<Row>): AsyncGenerator<readonly Row[]> {
    for await (const row of rows) yield [row];
  }

  async ask(batch: readonly Row[], take: (answer: Answer) => void, tools: Tools, signal: AbortSignal): Promise<void> {
    for (const row of batch) take(await this.#row(row, tools, signal));
  }

  async check(signal: AbortSignal): Promise<string> {
    const { totalTokens } = await this.#count([{ text: 'x' }], signal);
    return `${this.#path} counts tokens: ${totalTokens}`;
  }

  async estimate(first: Row, rows: number, signal: AbortSignal): Promise<Facts> {
    const parts = [{ text: filled(this.options.prompt, exactParse(first.text), first.text) }];
    const { totalTokens } = await this.#count(parts, signal);
    return { model: this.#path, promptTokensOfFirstRow: totalTokens, estimatedPromptTokens: totalTokens * rows };
  }

  /** Asks with these parts of the user's turn. @returns a good answer, or why there is none. */
  async answer(parts: readonly object[], tools: Tools, signal: AbortSignal): Promise<GeminiAnswer | string> {
    const body = JSON.stringify({ contents: [{ role: 'user', parts }], ...this.#fixed });
    const turn = (ask: () => Promise<string>): Promise<string> =>
      tools.limits.run(() => {
        this.#checkBudget(tools);
        tools.spend({ requests: 1 });
        return ask();
      }, signal);
    const text = await this.#api.text({ path: `${this.#path}:generateContent`, body, signal, turn });
    const answer = readAnswer(exactParse(text));
    if (answer === undefined)
      throw new BrokerError('bad_response', `${this.#path}: the answer has not the form of one`);
    const usage = usageOf(answer);
    tools.spend({ ...usage, answers: 1 });
    tools.limits.charge(usage.totalTokens ?? 0);
    const refusal = refusalOf(answer, this.options.accept) ?? this.#mismatch(answer);
    if (refusal === undefined) return answer;
    if (/blocked|SAFETY|PROHIBITED|BLOCKLIST|SPII|ARMOR/.test(refusal)) tools.spend({ blockedAnswers: 1 });
    return refusal;
  }

  /** What is under way counts with what an answer has cost so far. @throws BrokerError `budget_exceeded` */
  #checkBudget(tools: Tools): void {
    const { budget } = this.options;
    if (budget === undefined) return;
    const spent = tools.spent('totalTokens');
    const each = spent / Math.max(1, tools.spent('answers'));
    if (spent + (tools.limits.running - 1) * each < budget.tokens) return;
    throw new BrokerError('budget_exceeded', `${spent} tokens are used, budget.tokens is ${budget.tokens}`, {
      hint: 'What is finished is stored. Raise budget.tokens and run again: the run goes on.',
    });
  }

  /** The members of an output line that tell of the answer. */
  described(answer: GeminiAnswer): string {
    const text = textOf(answer);
    const { candidates, usageMetadata, modelVersion, responseId } = answer;
    const shown =
      this.#schema === undefined ? `"text":${JSON.stringify(text)}` : `"json":${JSON.stringify(exactParse(text))}`;
    const all = isMore(answer) ? { candidates } : {};
    const rest = { finishReason: candidates[0]?.finishReason, usage: usageMetadata, modelVersion, responseId, ...all };
    return `${shown},${JSON.stringify(rest).slice(1, -1)}`;
  }

  async #row(row: Row, tools: Tools, signal: AbortSignal): Promise<Answer> {
    try {
      const value = exactParse(row.text);
      const answer = await this.answer([{ text: filled(this.options.prompt, value, row.text) }], tools, signal);
      if (typeof answer === 'string') return { row, reason: answer };
      const { key } = this.options;
      const told =
        key === undefined
          ? `"row":${row.text}`
          : `"key":${JSON.stringify((value as Record<string, unknown> | null)?.[key] ?? null)}`;
      return { row, line: `{${told},${this.described(answer)}}` };
    } catch (thrown) {
      const error = asBrokerError(thrown);
      // What the model refuses about a row is that row's.
      if (error.code === 'invalid_request') return { row, reason: error.message };
      throw error;
    }
  }

  #mismatch(answer: GeminiAnswer): string | undefined {
    if (this.#schema === undefined) return undefined;
    let value: unknown;
    try {
      value = JSON.parse(textOf(answer));
    } catch {
      return 'the answer is not JSON';
    }
    const checked = this.#schema.safeParse(value);
    if (checked.success) return undefined;
    const [issue] = checked.error.issues;
    return `the answer does not fit the schema: ${issue?.path.join('.') || 'it'}: ${issue?.message}`;
  }

  async #count(parts: readonly object[], signal: AbortSignal): Promise<{ totalTokens: number }> {
    const { systemInstruction } = this.#fixed;
    const body = JSON.stringify({
      contents: [{ role: 'user', parts }],
      ...(systemInstruction === undefined ? {} : { systemInstruction }),
    });
    const answer = await this.#api.post(`${this.#path}:countTokens`, body, signal);
    return z.object({ totalTokens: z.number().default(0) }).parse(answer);
  }
}

const schemaOf = (schema: GenerateConfig['schema']): z.ZodType | undefined =>
  schema && (z.fromJSONSchema(schema as never) as z.ZodType);

/** Why a schema is none. */
export function schemaProblem(schema: GenerateConfig['schema']): string | undefined {
  try {
    schemaOf(schema);
    return undefined;
  } catch (error) {
    return `generate.schema is not a JSON Schema: ${(error as Error).message}. Correct it.`;
  }
}

/** All of a request but its turn. */
function fixedParts(generate: GenerateConfig, pipeline: string): Readonly<Record<string, unknown>> {
  const { system, config, schema, safety, modelArmor, tools, toolConfig, cachedContent, labels } = generate;
  const generationConfig = {
    ...config,
    ...(schema === undefined ? {} : { responseMimeType: 'application/json', responseJsonSchema: schema }),
  };
  return {
    ...(system === undefined ? {} : { systemInstruction: { parts: [{ text: system }] } }),
    ...(Object.keys(generationConfig).length === 0 ? {} : { generationConfig }),
    ...(safety === undefined ? {} : { safetySettings: safety }),
    ...(modelArmor === undefined ? {} : { modelArmorConfig: modelArmor }),
    ...(tools === undefined ? {} : { tools }),
    ...(toolConfig === undefined ? {} : { toolConfig }),
    ...(cachedContent === undefined ? {} : { cachedContent }),
    labels: { ...labels, 'isthmus-pipeline': pipeline },
  };
}
