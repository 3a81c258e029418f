import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { plugins } from '../../config/plugins.ts';
import { tokens } from '../../config/tokens.ts';
import { parsePipelineText } from '../../core/pipeline/load.ts';
import { InvalidPipeline } from '../../core/pipeline/problem.ts';
import { temporaryFolder } from '../support.ts';

const SECRET = 'ya29.this-must-never-be-shown';
const environment = {
  AWS_SECRET_ACCESS_KEY: SECRET,
  HOLDS_IT: SECRET,
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference inside of a value must stay as it is
  INJECTION: 'x"\n  sink: evil ${MISSING}',
  EMPTY: '',
  HUNTER: 'hunter2',
};

/** What `isthmus validate` prints and answers. */
async function validate(...files: string[]): Promise<{ code: number; text: string }> {
  const lines: string[] = [];
  const line = (text: string): void => void lines.push(text);
  const cli = compose(environment).get(tokens.cli);
  const code = await cli(['validate', ...files], { out: line, err: line, terminal: undefined }, '0.0.0');
  return { code, text: `${lines.join('\n')}\n` };
}

const folder = import.meta.dirname;
const corpus = readdirSync(folder).filter((name) => name.endsWith('.yaml'));

describe('every file of the corpus gets exactly its answer', () => {
  it.each(corpus)('%s', async (name) => {
    const { code, text } = await validate(join(folder, name));
    const shown = text.replaceAll(`${folder}/`, '');
    const expected = join(folder, name.replace('.yaml', '.txt'));
    if (process.env.UPDATE_CORPUS === '1') await writeFile(expected, shown);
    expect(shown).toBe(await readFile(expected, 'utf8'));
    expect(code).toBe(name.startsWith('good') ? 0 : 2);
    expect(shown).not.toContain(SECRET);
    expect(shown).not.toContain('hunter2');
    expect(shown).not.toMatch(/\n\s+at /);
  });
});

describe('what is not a file', () => {
  it('is named for what it is', async () => {
    await using temporary = await temporaryFolder();
    await mkdir(join(temporary.path, 'dir.yaml'));
    await writeFile(join(temporary.path, 'large.yaml'), '#'.repeat(1_500_000));
    const at = (name: string): string => join(temporary.path, name);
    expect((await validate(at('none.yaml'))).text).toContain('none.yaml: no such file');
    expect((await validate(at('dir.yaml'))).text).toContain('dir.yaml: is a directory');
    expect((await validate('/dev/null')).text).toContain('/dev/null: not a regular file');
    expect((await validate(at('large.yaml'))).text).toContain('1.4 MiB: pipelines are limited to 1 MiB');
    expect((await validate(at('none.yaml'))).code).toBe(2);
    // Nobody writes to it: whoever opened it would wait for ever.
    await promisify(execFile)('mkfifo', [at('pipe.yaml')]);
    expect((await validate(at('pipe.yaml'))).text).toContain('pipe.yaml: not a regular file');
  });
});

describe('places that overlap', () => {
  it('are found behind symbolic links', async () => {
    await using temporary = await temporaryFolder();
    await mkdir(join(temporary.path, 'data'));
    await symlink(join(temporary.path, 'data'), join(temporary.path, 'link'));
    const file = join(temporary.path, 'p.yaml');
    const spec = (path: string) => ({ use: 'file', with: { path } });
    await writeFile(file, JSON.stringify({ name: 'p', source: spec('data'), sink: spec('link/out') }));
    expect((await validate(file)).text).toContain('overlap');
  });
});

describe('many keys', () => {
  it('are told in one go, each twice at the place where it is', () => {
    const keys = Array.from({ length: 20_000 }, (_, index) => `k${index}: 1\n`).join('');
    const problems = problemsOf(`name: p\n${keys}k7: 2\n`);
    expect(problems.length).toBe(1);
    expect(problems[0]?.message).toBe('duplicate key "k7" (first at line 9)');
    expect(problemsOf(`name: p\n${keys}`).length).toBe(20_002);
  });
});

const problemsOf = (text: string): InvalidPipeline['problems'] => {
  try {
    parsePipelineText(text, 'p.yaml', { plugins, environment: {} });
    return [];
  } catch (error) {
    if (error instanceof InvalidPipeline) return error.problems;
    throw error;
  }
};

describe('a pipeline file that was damaged at random', () => {
  const good =
    'name: p\nidentities: { r: { kind: anonymous } }\nsource: { use: gcs, with: { bucket: exports, identity: r } }\nsink: { use: s3, with: { bucket: lake } }\nconcurrency: 8\n';
  const load = (text: string): void => {
    try {
      parsePipelineText(text, 'p.yaml', { plugins, environment: {} });
    } catch (error) {
      if (!(error instanceof InvalidPipeline)) throw error;
      expect(error.problems.length).toBeGreaterThan(0);
    }
  };

  it('is valid or has typed problems, never a crash', () => {
    const cut = fc.tuple(fc.nat(good.length), fc.nat(12), fc.string({ unit: 'binary', maxLength: 6 }));
    fc.assert(
      fc.property(fc.array(cut, { minLength: 1, maxLength: 3 }), (cuts) => {
        let text = good;
        for (const [at, length, inserted] of cuts) text = text.slice(0, at) + inserted + text.slice(at + length);
        load(text);
      }),
      { numRuns: 3000 },
    );
  });

  it('cannot reach a prototype', () => {
    load(`${good}__proto__: { polluted: true }\n`);
    load(good.replace('{ bucket: lake }', '{ bucket: lake, "__proto__": { polluted: true } }'));
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
