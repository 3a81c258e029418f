import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { temporaryFolder } from '../support.ts';

describe('isthmus auth setup', () => {
  async function isthmus(...args: string[]) {
    const lines: string[] = [];
    const line = (shown: string): void => void lines.push(shown);
    const code = await compose({}).get(tokens.cli)(args, { out: line, err: line, terminal: undefined }, '0');
    return { code, text: lines.join('\n') };
  }

  it('writes into a folder, and overwrites nothing', async () => {
    await using folder = await temporaryFolder();
    const out = join(folder.path, 'setup');
    const made = await isthmus('auth', 'setup', 'pipeline.example.yaml', '--out', out);
    expect(made).toMatchObject({
      code: 0,
      text: expect.stringMatching(/google\/main\.tf\n.*aws\/main\.tf\n.*google\.sh\n.*aws\.sh/),
    });
    execFileSync('bash', ['-n', join(out, 'google.sh')]);
    await expect(isthmus('auth', 'setup', 'pipeline.example.yaml', '--out', out)).rejects.toThrow(
      /google\/main\.tf.*exists already/,
    );
  });

  it('judges the files that can be read, and fails for one that cannot', async () => {
    await using folder = await temporaryFolder();
    const lax = join(folder.path, 'policy.json');
    await writeFile(lax, JSON.stringify({ bindings: [{ role: 'r', members: ['allUsers'] }] }));
    const lines: string[] = [];
    const line = (shown: string): void => void lines.push(shown);
    const args = ['auth', 'setup', '--check', join(folder.path, 'none.json'), lax];
    const checked = compose({}).get(tokens.cli)(args, { out: line, err: line, terminal: undefined }, '0');
    expect(await checked).toBe(2);
    expect(lines.join('\n')).toMatch(/error: .*none\.json: ENOENT/);
    expect(lines.join('\n')).toMatch(/policy\.json: error: r to allUsers[\s\S]*1 found/);
  });

  it('finds nothing too lax in what it makes', async () => {
    await using folder = await temporaryFolder();
    const out = join(folder.path, 'setup');
    await isthmus('auth', 'setup', 'pipeline.example.yaml', '--out', out);
    const checked = await isthmus('auth', 'setup', '--check', join(out, 'google/main.tf'));
    expect(checked).toEqual({ code: 0, text: '1 checked: nothing found that is too lax' });
  });
});
