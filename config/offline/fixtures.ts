import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { BrokerError, systemErrorCode, z } from '../../core/api/index.ts';
import type { Pipeline } from '../../core/pipeline/validate.ts';

/** When fixtures were changed last: names with dates are the same tomorrow. */
export const FIXED = new Date('2026-01-01T00:00:00Z');
/** What the clock says at the beginning of a test: so that fixtures have an age, and the same on every day. */
export const BEGINS = new Date('2026-01-02T00:00:00Z');

/** Sources whose items are files of a fixture. */
const OF_FILES = new Set(['gcs', 's3', 'file', 'http']);

/** @throws BrokerError for a folder that a typing mistake has made, and for one that is missing. */
export async function expectKnown({ sources, sinks }: Pipeline, folder: string): Promise<void> {
  const names = (kind: string, all: readonly unknown[]): readonly string[] =>
    all.map((_, index) => (all.length === 1 ? kind : `${kind}.${index}`));
  const wanted = names('source', sources).filter((_, index) => OF_FILES.has(sources[index]?.plugin.name ?? ''));
  const known = ['cloud.json', 'expected.json', ...names('source', sources), ...names('sink', sinks)];
  const there = (await readdir(folder)).filter((name) => !name.startsWith('.'));
  const unknown = there.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new BrokerError('invalid_config', `${folder} holds ${unknown}, which means nothing there`, {
      hint: `What may be there: ${known.join(', ')}.`,
    });
  const missing = wanted.find((name) => !there.includes(name));
  if (missing !== undefined)
    throw new BrokerError('invalid_config', `${join(folder, missing)} does not exist: it is what the source holds`, {
      hint: `mkdir -p ${join(folder, missing)}, and put files there; an empty one stands for a source that holds nothing.`,
    });
}

/** A file of a fixture; its key is its path below the folder, with slashes. */
export interface Fixture {
  readonly key: string;
  readonly bytes: Buffer;
}

/** The files of a folder; none where there is none. */
export async function fixturesIn(folder: string): Promise<readonly Fixture[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  });
  const files = entries.filter((entry) => entry.isFile() && entry.name !== '.gitkeep');
  return Promise.all(
    files.map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      return { key: relative(folder, path).split(sep).join('/'), bytes: await readFile(path) };
    }),
  );
}

const row = z.record(z.string(), z.unknown());
const field = z.looseObject({ name: z.string(), type: z.string() });
const table = z.strictObject({ fields: z.array(field).min(1), rows: z.array(row).default([]) });

/** What a file `cloud.json` says of the clouds besides files. */
const cloudSchema = z.strictObject({
  bigquery: z
    .strictObject({
      /** By `project.dataset.table`. */
      tables: z.record(z.string().regex(/^[^.]+\.[^.]+\.[^.]+$/, 'must be project.dataset.table'), table).default({}),
      /** What queries answer: the first whose pattern is in the text. */
      answers: z.array(table.extend({ matches: z.string().min(1) })).default([]),
      location: z.string().default('EU'),
    })
    .optional(),
  /** By the end of the name of a model or endpoint: the prediction of every instance, or `echo`. */
  vertexai: z.record(z.string(), z.json()).optional(),
});

export type CloudFixture = z.output<typeof cloudSchema>;

/** @throws BrokerError `invalid_config` */
export async function cloudFixture(folder: string): Promise<CloudFixture> {
  const file = join(folder, 'cloud.json');
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return '{}';
    throw error;
  });
  const refuse = (what: string): never => {
    throw new BrokerError('invalid_config', `cloud.json: ${what}`, { hint: 'See docs/testing.md for its form.' });
  };
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    refuse('it is not JSON');
  }
  const parsed = cloudSchema.safeParse(data);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const at = issue?.path.join('.') ?? '';
  return refuse(`${at === '' ? '' : `${at}: `}${issue?.message}`);
}
