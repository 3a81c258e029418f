import { z } from 'zod';
import { BrokerError } from '../api/errors.ts';
import type { Files } from './files.ts';

const count = z.number().int().nonnegative();

/** A line of a manifest: small, so that a child is told all of it. */
export const shardSpec = z.strictObject({
  /** Its name, which is that of its file. */
  shard: z.string().regex(/^[\w.-]{1,80}$/),
  /** Actions in it. */
  items: count,
  /** To be carried. */
  bytes: count,
  /** Of its file, in hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** It is a range of the one item in it: of how many, and which bytes. */
  piece: z.strictObject({ of: count.positive(), start: count, end: count }).exactOptional(),
  /** It is what is extra in a sink. */
  extra: z.literal(true).exactOptional(),
});

export type Shard = z.output<typeof shardSpec>;

/** The name that what becomes of it is kept under: pieces of one item share its file. */
export const nameOf = ({ shard, piece }: Shard): string => (piece === undefined ? shard : `${shard}.${piece.start}`);

/** What its checkpoint is kept by: the same in every attempt, so that a later one goes on where an earlier one was. */
export const shardRun = ({ runId }: { readonly runId: string }, shard: Shard): string =>
  `shard ${runId} ${nameOf(shard)}`;

/** @throws BrokerError `invalid_plan` for a line that is none, `not_carried` when the manifest is gone. */
export async function* shardsIn(files: Files, key: string, signal: AbortSignal): AsyncGenerator<Shard> {
  for await (const { text, number } of files.lines(key, signal)) yield shardOf(text, `${key}:${number}`);
}

export function shardOf(text: string, where: string): Shard {
  try {
    return shardSpec.parse(JSON.parse(text));
  } catch {
    throw new BrokerError('invalid_plan', `${where} is no line of a manifest`);
  }
}
