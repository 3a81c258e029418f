import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { compose } from '../../config/composition.ts';
import { plugins } from '../../config/plugins.ts';
import { tokens } from '../../config/tokens.ts';
import { BrokerError } from '../../core/api/index.ts';
import { readCredentialFile } from '../../core/auth/credential-file.ts';
import { parsePipelineText } from '../../core/pipeline/load.ts';
import { searchForLeaks, searchValue } from '../leaks.ts';
import { temporaryFolder } from '../support.ts';

const folder = import.meta.dirname;
const corpus = readdirSync(folder).filter((name) => name.endsWith('.json'));

/** What `isthmus auth import` prints and answers. */
async function imported(file: string): Promise<string> {
  const lines: string[] = [];
  const line = (text: string): void => void lines.push(text);
  const cli = compose({}).get(tokens.cli);
  try {
    const code = await cli(['auth', 'import', file], { out: line, err: line, terminal: undefined }, '0.0.0');
    return `${lines.join('\n')}\nexit ${code}\n`;
  } catch (error) {
    searchValue(file, error);
    const { code, message } = error as BrokerError;
    return `${code}: ${message.replaceAll(`${folder}/`, '')}\n`;
  }
}

describe('every credential configuration gets exactly its answer, and nothing that it names is touched', () => {
  it.each(corpus)('%s', async (name) => {
    const asked = vi.spyOn(globalThis, 'fetch');
    const shown = await imported(join(folder, name));
    expect(asked).not.toHaveBeenCalled();
    vi.restoreAllMocks();
    const expected = join(folder, name.replace('.json', '.txt'));
    if (process.env.UPDATE_CORPUS === '1') await writeFile(expected, shown);
    expect(shown).toBe(await readFile(expected, 'utf8'));
    expect(shown.startsWith('identities:')).toBe(name.startsWith('good'));
    searchForLeaks(`import ${name}`, shown);
    expect(shown).not.toMatch(/evil\.|\/etc\//);
  });

  it('there are more than fifteen hostile ones', () => {
    expect(corpus.filter((name) => !name.startsWith('good')).length).toBeGreaterThan(15);
  });
});

it('what is imported is valid in a pipeline', async () => {
  const shown = await imported(join(folder, 'good-aws.json'));
  const identities = shown.slice(0, shown.indexOf('note:'));
  const rest =
    'source: { use: gcs, with: { bucket: exports, identity: reader } }\nsink: { use: s3, with: { bucket: lake } }\n';
  const pipeline = parsePipelineText(`name: p\n${identities}${rest}`, 'p.yaml', { plugins, environment: {} });
  expect(pipeline.identities.reader).toMatchObject({ kind: 'gcp', from: 'aws-signature' });
});

it('a file that was damaged at random is read or refused by name, never a crash', async () => {
  const good = await readFile(join(folder, 'good-aws.json'), 'utf8');
  const cut = fc.tuple(fc.nat(good.length), fc.nat(12), fc.string({ unit: 'binary', maxLength: 6 }));
  fc.assert(
    fc.property(fc.array(cut, { minLength: 1, maxLength: 3 }), (cuts) => {
      let text = good;
      for (const [at, length, inserted] of cuts) text = text.slice(0, at) + inserted + text.slice(at + length);
      try {
        readCredentialFile(text, 'f.json');
      } catch (error) {
        expect(error).toBeInstanceOf(BrokerError);
      }
    }),
    { numRuns: 3000 },
  );
});

it('a file that is not there, or far too large, is named for what it is', async () => {
  await using temporary = await temporaryFolder();
  const large = join(temporary.path, 'large.json');
  await writeFile(large, '{'.repeat(100_000));
  expect(await imported(large)).toContain('longer than 64 KiB');
  expect(await imported(join(temporary.path, 'none.json'))).toContain('ENOENT');
});
