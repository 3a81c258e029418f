import { z } from 'zod';
import { byteSize, duration, integer, keyGlob, type OptionProblem, problemsBy, timestamp } from '../api/fields.ts';
import { KEY_FIELDS, keyTemplateText } from '../api/key-template.ts';
import { keyMap } from '../engine/key-map.ts';
import { unknown } from './explain.ts';

/** A glob, or a regular expression. Whether that can be read is known when the library for it is loaded. */
const keyPattern = () =>
  z.union([keyGlob(), z.strictObject({ regex: z.string().min(1).max(1024) })], {
    error: ({ input }) => (typeof input === 'object' ? 'must be a glob, or a mapping with `regex`' : undefined),
  });

export const filterSpec = z
  .strictObject({
    include: z.array(keyPattern()).optional().describe('Only keys that match one of these: globs, or `{ regex: … }`.'),
    exclude: z.array(keyPattern()).optional().describe('No keys that match one of these.'),
    minSize: byteSize().optional().describe('Only items of at least so many bytes.'),
    maxSize: byteSize().optional().describe('Only items of at most so many bytes.'),
    modifiedAfter: timestamp().optional().describe('Only items that were changed later.'),
    modifiedBefore: timestamp().optional().describe('Only items that were changed earlier.'),
    minAge: duration().optional().describe('Only items that nobody has changed for so long.'),
    maxAge: duration().optional().describe('Only items that were changed within this time.'),
    storageClasses: z.array(z.string().min(1)).min(1).optional().describe('Only items of these storage classes.'),
    contentTypes: z.array(keyGlob()).min(1).optional().describe('Only items of these content types: `text/*`.'),
    metadata: z.record(z.string(), z.string()).optional().describe('Only items with exactly this metadata.'),
  })
  .superRefine(
    problemsBy(function* ({
      minSize,
      maxSize,
      modifiedAfter,
      modifiedBefore,
      minAge,
      maxAge,
    }): Generator<OptionProblem> {
      const nothing = 'nothing can be left by this: it is beyond the other limit';
      if ((minSize ?? 0) > (maxSize ?? Number.POSITIVE_INFINITY)) yield { path: ['maxSize'], message: nothing };
      if ((modifiedAfter ?? 0) >= (modifiedBefore ?? Number.POSITIVE_INFINITY))
        yield { path: ['modifiedBefore'], message: nothing };
      if ((minAge ?? 0) > (maxAge ?? Number.POSITIVE_INFINITY)) yield { path: ['maxAge'], message: nothing };
    }),
  );

export const keySpec = z.strictObject({
  template: keyTemplateText((field) => unknown('field', field, KEY_FIELDS)).describe(
    `The key in the sinks. In braces: ${KEY_FIELDS.join(', ')}; dir comes with its slash, ext with its dot.`,
  ),
  collisions: z
    .enum(['refuse', 'skip'])
    .default('refuse')
    .describe('What becomes of an item whose key is taken by one before it, in the order of the keys in the source.'),
});

export const deleteSpec = z.strictObject({
  extras: z.literal(true).describe('Delete in the sinks what no source has, after a run in which nothing failed.'),
  maxCount: integer(0, 1_000_000_000).default(1000).describe('If there are more of them, none is deleted.'),
  maxPercent: z
    .number({ error: 'must be a number from 0 to 100' })
    .min(0, 'must be a number from 0 to 100')
    .max(100, 'must be a number from 0 to 100')
    .default(25)
    .describe('If they are more of what the pipeline could have written, none is deleted.'),
});

/** The keys of a pipeline that say what is carried, under which key, and what becomes of the rest. */
export const syncKeys = {
  compare: z
    .enum(['checksum', 'size', 'modified', 'always'])
    .default('checksum')
    .describe(
      'How to tell that an item is already there. `checksum` reads metadata only, never data; `modified`: same size, and not changed in the source since it was written.',
    ),
  overwrite: z
    .enum(['different', 'never', 'ifNewer'])
    .default('different')
    .describe('Which objects of the sinks are replaced: those that differ, none, or those that are older.'),
  filter: filterSpec
    .optional()
    .describe('Which items are carried. What is not known of an item does not leave it out.'),
  missing: z
    .enum(['fail', 'skip'])
    .default('fail')
    .describe(
      'What becomes of an item that vanished between its listing and its reading, or that a list names and is not there.',
    ),
  folderMarkers: z
    .enum(['copy', 'skip', 'refuse'])
    .default('copy')
    .describe('Empty objects that stand for a folder: `logs/`.'),
  key: keySpec.optional().describe('Under which keys items are written. Default: their own.'),
  delete: deleteSpec.optional().describe('What becomes of objects that no source has. Default: they stay.'),
  move: z
    .boolean()
    .default(false)
    .describe('Delete each item in its source, in the version that was carried, once it is proved in every sink.'),
} as const;

interface Sync {
  readonly compare: string;
  readonly overwrite: string;
  readonly key?: { readonly template: string } | undefined;
  readonly delete?: object | undefined;
  readonly push?: object | undefined;
  readonly move: boolean;
}

/** What of these contradicts each other. */
export function* syncProblems(pipeline: Sync): Generator<OptionProblem> {
  const { compare, overwrite, key, move } = pipeline;
  if (compare === 'always' && overwrite !== 'different')
    yield { path: ['overwrite'], message: 'compare: always does not look at what is there. Use another compare' };
  if (move && compare !== 'checksum')
    yield { path: ['move'], message: 'only what is proved may be deleted: it needs compare: checksum' };
  if (move && pipeline.delete !== undefined)
    yield {
      path: ['delete'],
      message: 'what is moved is in no source afterwards, and would be deleted. Use one of both',
    };
  if (pipeline.push !== undefined && key !== undefined && !keyMap(key.template, 'refuse').unique)
    yield {
      path: ['key', 'template'],
      message: 'with push each item comes by itself, and whose key it is must be in it: use {key}, or {dir}{name}',
    };
  const ordered = key === undefined || /^[^{}]*\{key\}$/.test(key.template);
  if (pipeline.delete !== undefined && !ordered)
    yield {
      path: ['delete'],
      message: 'from these keys it cannot be told what is in no source: use it with key.template: some/prefix/{key}',
    };
}

/** What is valid, and probably not meant. */
export function* filterWarnings(
  filter: z.output<typeof filterSpec> | undefined,
): Generator<{ readonly path: readonly (string | number)[]; readonly message: string }> {
  for (const name of ['include', 'exclude'] as const)
    for (const [index, pattern] of (filter?.[name] ?? []).entries())
      if (typeof pattern === 'string' && pattern.endsWith('/')) {
        const message = `matches only the marker of the folder; what is below it: ${pattern}**`;
        yield { path: ['filter', name, index], message };
      }
}
