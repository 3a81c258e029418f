import { z } from '../../core/api/index.ts';

const count = z.number().optional();
const part = z.looseObject({ text: z.string().optional(), thought: z.boolean().optional() });

/** Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference#response */
const answerSchema = z.object({
  candidates: z
    .array(
      z.looseObject({
        content: z.looseObject({ parts: z.array(part).default([]) }).optional(),
        finishReason: z.string().optional(),
        finishMessage: z.string().optional(),
        safetyRatings: z
          .array(z.looseObject({ category: z.string().optional(), blocked: z.boolean().optional() }))
          .optional(),
      }),
    )
    .default([]),
  promptFeedback: z
    .object({ blockReason: z.string().optional(), blockReasonMessage: z.string().optional() })
    .optional(),
  usageMetadata: z
    .object({
      promptTokenCount: count,
      candidatesTokenCount: count,
      thoughtsTokenCount: count,
      cachedContentTokenCount: count,
      toolUsePromptTokenCount: count,
      totalTokenCount: count,
      trafficType: z.string().optional(),
    })
    .optional(),
  modelVersion: z.string().optional(),
  responseId: z.string().optional(),
});
export type GeminiAnswer = z.output<typeof answerSchema>;
type Part = z.output<typeof part>;

export const readAnswer = (value: unknown): GeminiAnswer | undefined => {
  const parsed = answerSchema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
};

/** What is counted over a run. */
export function usageOf({ usageMetadata = {} }: GeminiAnswer): Readonly<Record<string, number>> {
  const {
    promptTokenCount = 0,
    candidatesTokenCount = 0,
    thoughtsTokenCount = 0,
    cachedContentTokenCount = 0,
    toolUsePromptTokenCount = 0,
    totalTokenCount,
  } = usageMetadata;
  return {
    promptTokens: promptTokenCount,
    answerTokens: candidatesTokenCount,
    ...(thoughtsTokenCount > 0 ? { thoughtTokens: thoughtsTokenCount } : {}),
    ...(cachedContentTokenCount > 0 ? { cachedTokens: cachedContentTokenCount } : {}),
    ...(toolUsePromptTokenCount > 0 ? { toolTokens: toolUsePromptTokenCount } : {}),
    totalTokens:
      totalTokenCount ?? promptTokenCount + candidatesTokenCount + thoughtsTokenCount + toolUsePromptTokenCount,
  };
}

/** What the model only thought is no part of an answer. */
const partsOf = (candidate: GeminiAnswer['candidates'][number] | undefined): readonly Part[] =>
  (candidate?.content?.parts ?? []).filter(({ thought }) => thought !== true);

/** Why an answer is none; undefined for a good one. */
export function refusalOf({ candidates, promptFeedback }: GeminiAnswer, accept: readonly string[]): string | undefined {
  const { blockReason, blockReasonMessage } = promptFeedback ?? {};
  if (blockReason !== undefined)
    return `the prompt was blocked: ${blockReason}${blockReasonMessage === undefined ? '' : `: ${blockReasonMessage}`}`;
  if (candidates.length === 0) return 'the model gave no answer';
  for (const candidate of candidates) {
    const reason = candidate.finishReason ?? 'FINISH_REASON_UNSPECIFIED';
    if (!accept.includes(reason)) {
      const blocked = (candidate.safetyRatings ?? []).filter((rating) => rating.blocked === true);
      const detail = candidate.finishMessage ?? blocked.map(({ category }) => category).join(', ');
      return `finish reason ${reason}${detail === '' ? '' : `: ${detail}`}`;
    }
    const isEmpty = partsOf(candidate).every(
      ({ text, thought: _, ...rest }) => !text && Object.keys(rest).length === 0,
    );
    if (isEmpty) return 'the answer is empty';
  }
  return undefined;
}

/** The text of the answer. */
export const textOf = ({ candidates }: GeminiAnswer): string =>
  partsOf(candidates[0])
    .map(({ text = '' }) => text)
    .join('');

/** Whether there is more to an answer than its text: other candidates, calls of functions, images, sources. */
export const isMore = ({ candidates }: GeminiAnswer): boolean =>
  candidates.length > 1 ||
  partsOf(candidates[0]).some(({ text, thought: _, ...rest }) => text === undefined || Object.keys(rest).length > 0) ||
  ['groundingMetadata', 'logprobsResult', 'citationMetadata'].some((name) => candidates[0]?.[name] !== undefined);
