import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import type { Receipt } from '../engine/receipt.ts';
import { InvalidPipeline } from '../pipeline/problem.ts';
import type { OfflineRun, OpenOffline, Stored } from './offline.ts';
import { EXIT, type Output } from './output.ts';

export interface TestFlags {
  readonly update?: boolean;
  readonly json?: boolean;
}

/** What a run did, without what differs from run to run: times, generations, ids. */
interface Golden {
  readonly outcome: string;
  /** Of what ended the run. */
  readonly error?: string;
  readonly receipts: readonly object[];
  readonly stored: readonly Stored[];
}

interface Result {
  readonly file: string;
  readonly passed: boolean;
  readonly differences: readonly string[];
  readonly updated?: boolean;
  /** It could not be run at all. */
  readonly untested?: boolean;
  /** In short, what came of it. */
  readonly told?: string;
  readonly notes?: readonly string[];
  /** Why the run did not carry everything: it may be what is meant, and should be looked at. */
  readonly troubles: readonly string[];
}

const expectedSchema = z.object({
  outcome: z.string(),
  error: z.string().exactOptional(),
  receipts: z.array(z.looseObject({})),
  stored: z.array(z.custom<Stored>((value) => typeof value === 'object' && value !== null)),
  writesAgain: z.number(),
});

const EXPECTED = 'expected.json';
const MOST_SHOWN = 20;

/** `isthmus test`: runs pipelines against the local cloud with fixtures, and compares with what is expected. */
export async function testCommand(
  files: readonly string[],
  { update, json }: TestFlags,
  openOffline: OpenOffline,
  output: Output,
): Promise<number> {
  const results: Result[] = [];
  let invalid = false;
  for (const file of files) {
    const result = await testOne(file, update === true, openOffline).catch((error: unknown): Result => {
      // One that cannot be tested does not keep the others from it.
      if (files.length === 1 || !(error instanceof BrokerError || error instanceof InvalidPipeline)) throw error;
      invalid = true;
      const hint = error instanceof BrokerError ? [error.hint] : [];
      return { file, passed: false, differences: [error.message, ...hint], troubles: [], untested: true };
    });
    results.push(result);
    if (json === true) continue;
    const what = result.updated === true ? 'updated' : result.passed ? 'passed' : 'FAILED';
    output.out(`${visible(file)}: ${what}${result.told === undefined ? '' : `, ${result.told}`}`);
    for (const note of result.notes ?? []) output.err(`  note: ${note}`);
    for (const line of result.troubles.slice(0, MOST_SHOWN)) output.err(`  ${line}`);
    for (const line of result.differences.slice(0, MOST_SHOWN)) output.err(`  ${line}`);
    const more = result.differences.length - MOST_SHOWN;
    if (more > 0) output.err(`  … and ${more} more`);
    if (!result.passed && result.untested !== true)
      output.err(`  If this is right: isthmus test ${visible(file)} --update`);
  }
  if (json === true) output.out(JSON.stringify(results));
  if (invalid) return EXIT.invalid;
  return results.every(({ passed }) => passed) ? EXIT.complete : EXIT.failed;
}

async function testOne(file: string, update: boolean, openOffline: OpenOffline): Promise<Result> {
  const folder = `${file.replace(/\.ya?ml$/, '')}.test`;
  await expectFolder(folder, file);
  await using offline = await openOffline(file, folder);
  const first = await offline.run();
  const found = goldenOf(first, await offline.stored(), offline.once);
  const troubles = troublesOf(first);
  const { notes } = offline;
  // What is there and the same is not to be written again.
  const again = await offline.run();
  const rewritten = again.receipts.filter(({ outcome }) => outcome === 'written');
  const counts = Object.entries(first.report.items).filter(([name, count]) => count > 0 || name === 'written');
  const told = `${counts.map(([name, count]) => `${count} ${name}`).join(', ')}${first.report.outcome === 'complete' ? '' : `; the run ends ${first.report.outcome}`}${rewritten.length === 0 ? '' : `; a second run writes ${rewritten.length} again`}`;
  const place = join(folder, EXPECTED);
  if (update) {
    await mkdir(folder, { recursive: true });
    await writeFile(place, `${JSON.stringify({ ...found, writesAgain: rewritten.length }, null, 2)}\n`);
    const kept =
      first.report.outcome === 'complete'
        ? []
        : [`a run that ends ${first.report.outcome} is what is expected from now on`];
    return { file, passed: true, differences: [], updated: true, troubles, told, notes: [...notes, ...kept] };
  }
  const expected = await goldenIn(place, file);
  const differences = [
    ...differ('outcome', [ending(expected)], [ending(found)]),
    ...differ('receipt', expected.receipts, found.receipts),
    ...differ('stored', expected.stored, found.stored),
    ...(expected.writesAgain === rewritten.length
      ? []
      : [`a second run writes ${rewritten.length} items, expected ${expected.writesAgain}`]),
  ];
  const passed = differences.length === 0;
  return { file, passed, differences, troubles: passed ? [] : troubles, told, notes };
}

/** What went wrong in the run itself, for people. */
const troublesOf = ({ report: { outcome, error, failures } }: OfflineRun): readonly string[] => [
  ...(outcome === 'complete' ? [] : [`the run ended ${outcome}`]),
  ...(error === undefined ? [] : [`${error.code}: ${error.message}`, `  ${error.hint}`]),
  ...failures.flatMap(({ key, code, message }) => [`${visible(key)}: ${code}: ${message}`]),
];

function goldenOf({ report, receipts }: OfflineRun, stored: readonly Stored[], once: ReadonlySet<string>): Golden {
  const isOther = ({ made }: Receipt): boolean => made?.split(', ').some((step) => once.has(step)) === true;
  const others = new Set(receipts.filter(isOther).map(({ key }) => key));
  // What is other bytes each time has no checksum that could be expected.
  const lines = receipts.map((receipt) => receiptLine(isOther(receipt) ? { ...receipt, checksums: {} } : receipt));
  return {
    outcome: report.outcome,
    ...(report.error === undefined ? {} : { error: report.error.code }),
    receipts: lines.sort((one, other) => (`${one.sink} ${one.key}` < `${other.sink} ${other.key}` ? -1 : 1)),
    stored: stored.map((one) => (others.has(one.key) ? { ...one, crc32c: '' } : one)),
  };
}

const ending = ({ outcome, error }: Golden): object => ({ outcome, ...(error === undefined ? {} : { error }) });

const receiptLine = ({ key, sink, outcome, bytes, checksums, failure, notes, made, from, reason }: Receipt) => ({
  key,
  sink,
  outcome,
  bytes,
  ...(from === undefined ? {} : { from }),
  ...(checksums?.crc32c === undefined ? {} : { crc32c: checksums.crc32c }),
  ...(made === undefined ? {} : { made }),
  ...(notes === undefined ? {} : { notes }),
  ...(failure === undefined ? {} : { code: failure.code }),
  ...(outcome === 'skipped' ? { reason } : {}),
});

type Line = { readonly key?: string; readonly sink?: number };

/** By key and place: what is missing, what is not expected, and what is another. */
function differ(what: string, expected: readonly object[], found: readonly object[]): readonly string[] {
  const named = (one: object): string => {
    const { key = '', sink, place } = one as Line & { place?: string };
    return `${what} ${visible(`${place ?? ''}${key}`)}${sink === undefined ? '' : ` (sink ${sink})`}`.trim();
  };
  const byName = (all: readonly object[]): ReadonlyMap<string, object> => {
    const found = new Map<string, object>();
    for (const one of all) {
      // Two of one name, of two sources, are two.
      let name = named(one);
      for (let number = 2; found.has(name); number++) name = `${named(one)} (number ${number})`;
      found.set(name, one);
    }
    return found;
  };
  const [wanted, there] = [byName(expected), byName(found)];
  return [...new Set([...wanted.keys(), ...there.keys()])].flatMap((name) => {
    const [one, other] = [wanted.get(name), there.get(name)];
    if (other === undefined) return [`${name}: expected, and not there`];
    if (one === undefined) return [`${name}: not expected: ${shown(other)}`];
    return fieldsThatDiffer(one, other).map((field) => `${name}: ${field}`);
  });
}

const shown = (value: unknown): string => visible(JSON.stringify(value) ?? 'nothing');

function fieldsThatDiffer(one: object, other: object): readonly string[] {
  const [before, after] = [one, other] as Readonly<Record<string, unknown>>[];
  return [...new Set([...Object.keys(one), ...Object.keys(other)])]
    .filter((field) => shown(before?.[field]) !== shown(after?.[field]))
    .map((field) => `${field} is ${shown(after?.[field])}, expected ${shown(before?.[field])}`);
}

async function expectFolder(folder: string, file: string): Promise<void> {
  const there = await stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (there) return;
  throw new BrokerError(
    'invalid_config',
    `${visible(folder)} does not exist: it holds what ${visible(file)} is tested with`,
    {
      hint: `mkdir -p ${folder}/source, put files there by their names below the prefix of the source, then: isthmus test ${file} --update`,
    },
  );
}

async function goldenIn(place: string, file: string): Promise<Golden & { readonly writesAgain: number }> {
  try {
    return expectedSchema.parse(JSON.parse(await readFile(place, 'utf8')));
  } catch (error) {
    const missing = systemErrorCode(error) === 'ENOENT';
    throw new BrokerError(
      'invalid_config',
      `${visible(place)} ${missing ? 'does not exist' : 'is not what isthmus test has written'}`,
      {
        hint: `isthmus test ${file} --update writes it; look at it, and keep it with the pipeline.`,
      },
    );
  }
}
