import { z } from 'zod';
import { byteSize, duration, integer, problemsBy } from '../api/fields.ts';
import { deploySpec, pushSpec } from './deploy-spec.ts';
import { identitySpec } from './identity-spec.ts';
import { syncKeys, syncProblems } from './sync-spec.ts';

/** `use` names a plugin; its own schema validates `with`. */
export const endpointSpec = z.strictObject({
  use: z.string().min(1),
  with: z.record(z.string(), z.unknown()).optional(),
});

export const retrySpec = z.strictObject({
  attempts: integer(1, 20).default(5).describe('Tries of one item, the first included.'),
  baseDelay: duration()
    .prefault('200ms')
    .describe('The longest first pause; it doubles with each try. Jitter is always on.'),
  maxDelay: duration().prefault('20s').describe('The cap of a pause, also of what a server asks for in Retry-After.'),
});

/** A file below the folder of the pipeline, or the name of a package. */
export const CUSTOM_PLUGIN = /^(?:\.\/[^\p{Cc}]{1,500}|(?:@[a-z0-9][\w.-]*\/)?[a-z0-9][\w.-]*)$/u;

/** The whole file, but for `source`, `sink` and `state`, whose `with` the plugins validate. */
export const pipelineSpec = z
  .strictObject({
    version: z
      .union([z.literal(1), z.literal('1')], { error: ({ input }) => versionMessage(input) })
      .optional()
      .describe('The version of this format: 1.'),
    name: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be 1 to 63 lower-case letters, digits and "-"')
      .describe('Names the pipeline in reports and state.'),
    identities: z
      .record(z.string(), identitySpec)
      .default({})
      .describe('Who to be in a cloud, by name. Never a secret.'),
    source: z.unknown(),
    sink: z.unknown(),
    through: z.unknown().optional(),
    ...syncKeys,
    concurrency: integer(1, 256)
      .optional()
      .describe(
        'The most transfers under way at once: items, and parts of large ones. Default: 8 at first, and more as long as that makes the run faster. Either way they are halved when a cloud says that it is too much.',
      ),
    memory: byteSize({ min: '8MiB', max: '1TiB' })
      .prefault('64MiB')
      .describe('What all transfers together may buffer.'),
    retry: retrySpec.prefault({}).describe('How patiently one item is tried.'),
    state: z.unknown().optional(),
    receipts: z.unknown().optional(),
    deadLetters: z.unknown().optional(),
    history: integer(0, 1000).default(20).describe('How many reports are kept in the `state`, for `isthmus history`.'),
    plugins: z
      .array(z.string().regex(CUSTOM_PLUGIN, 'must be a file such as ./my-source.ts, or the name of a package'))
      .default([])
      .describe('Plugins that are not built in: files in the folder of the pipeline, or installed packages.'),
    push: pushSpec.optional().describe('Who may push notifications of objects over HTTP. Without it nobody may.'),
    deploy: deploySpec.prefault({}).describe('How the pipeline is packaged and deployed.'),
  })
  .superRefine(problemsBy(syncProblems));

function versionMessage(input: unknown): string {
  if (typeof input === 'number' && !Number.isInteger(input)) return 'must be 1';
  const number = Number(input);
  return number > 1 ? `version ${number} is newer than this release (supports 1)` : 'must be 1';
}

export type { IdentitySpec } from './identity-spec.ts';
export type PipelineSpec = z.output<typeof pipelineSpec>;
