import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, it } from 'vitest';

const root = dirname(import.meta.dirname);
const files = execFileSync(
  'git',
  ['ls-files', '-co', '--exclude-standard', 'core', 'plugins', 'config', 'examples', 'test'],
  { cwd: root, encoding: 'utf8' },
)
  .split('\n')
  .filter((file) => file.endsWith('.ts') && !/^(config\/templates|examples\/plugins)\//.test(file));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

const imports = files.flatMap((file) =>
  [
    ...read(file).matchAll(/(?:^|\n)(?:import|export)[^'"]*?from '([^']+)'|import\('([^']+)'\)|\nimport '([^']+)'/g),
  ].map((found) => {
    const target = found[1] ?? found[2] ?? found[3] ?? '';
    return { file, target: target.startsWith('.') ? relative(root, join(root, dirname(file), target)) : target };
  }),
);

/** Who may import what of ours, and which packages. */
const rules: readonly { readonly from: RegExp; readonly allows: (target: string, file: string) => boolean }[] = [
  {
    from: /^core\/api\//,
    allows: (target) => target.startsWith('core/api/') || target === 'zod' || target.startsWith('node:'),
  },
  { from: /^core\//, allows: (target) => !/^(plugins|config|test)\//.test(target) && target !== 'inversify' },
  {
    from: /^plugins\//,
    allows: (target, file) => {
      const own = file.split('/').slice(0, 2).join('/');
      const ours = /^(core|plugins|config|test|examples)\//.test(target);
      return (
        target !== 'inversify' &&
        (!ours ||
          target === 'core/api/index.ts' ||
          target.startsWith(`${own}/`) ||
          target.startsWith('plugins/google/'))
      );
    },
  },
  // `isthmus test` runs a pipeline against the local cloud.
  { from: /^config\//, allows: (target) => !target.startsWith('test/') || target.startsWith('test/cloud/') },
];

it.each(rules)('files of $from import only what the layers allow', ({ from, allows }) => {
  const wrong = imports.filter(({ file, target }) => from.test(file) && !allows(target, file));
  expect(wrong).toEqual([]);
});

it('finds the imports at all', () => {
  expect(imports.length).toBeGreaterThan(200);
});

it('keeps every file at 250 lines or less', () => {
  const long = files.filter((file) => /^(core|plugins|config)\//.test(file) && read(file).split('\n').length > 251);
  expect(long).toEqual([]);
});

it('leaves inversify to config', () => {
  expect(imports.filter(({ file, target }) => target === 'inversify' && !file.startsWith('config/'))).toEqual([]);
});
