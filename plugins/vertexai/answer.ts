import { z } from '../../core/api/index.ts';

const count = z.number().optional();

/** Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference#response */
const answerSchema = z.object({
  candidates: z
    .array(
      z.object({
        content: z
          .object({
            parts: z.array(z.looseObject({ text: z.string().optional(), thought: z.boolean().optional() })).default([]),
          })
          .optional(),
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
      totalTokenCount: count,
      trafficType: z.string().optional(),
    })
    .optional(),
  modelVersion: z.string().optional(),
  responseId: z.string().optional(),
});
export type GeminiAnswer = z.output<typeof answerSchema>;

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
    totalTokenCount,
  } = usageMetadata;
  return {
    promptTokens: promptTokenCount,
    answerTokens: candidatesTokenCount,
    ...(thoughtsTokenCount > 0 ? { thoughtTokens: thoughtsTokenCount } : {}),
    ...(cachedContentTokenCount > 0 ? { cachedTokens: cachedContentTokenCount } : {}),
    totalTokens: totalTokenCount ?? promptTokenCount + candidatesTokenCount + thoughtsTokenCount,
  };
}

/** Why an answer is none; undefined for a good one. */
export function refusalOf({ candidates, promptFeedback }: GeminiAnswer, accept: readonly string[]): string | undefined {
  const { blockReason, blockReasonMessage } = promptFeedback ?? {};
  if (blockReason !== undefined)
    return `the prompt was blocked: ${blockReason}${blockReasonMessage === undefined ? '' : `: ${blockReasonMessage}`}`;
  const [first] = candidates;
  if (first === undefined) return 'the model gave no answer';
  const reason = first.finishReason ?? 'FINISH_REASON_UNSPECIFIED';
  if (accept.includes(reason)) return undefined;
  const categories = (first.safetyRatings ?? [])
    .filter(({ blocked }) => blocked === true)
    .map(({ category }) => category);
  const detail = first.finishMessage ?? categories.join(', ');
  return `finish reason ${reason}${detail === '' ? '' : `: ${detail}`}`;
}

/** The text of the answer; what the model only thought is none of it. */
export const textOf = ({ candidates }: GeminiAnswer): string =>
  (candidates[0]?.content?.parts ?? [])
    .filter(({ thought }) => thought !== true)
    .map(({ text = '' }) => text)
    .join('');
