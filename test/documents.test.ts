import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generated } from '../config/generate.ts';
import { plugins } from '../config/plugins.ts';
import { parsePipelineText } from '../core/pipeline/load.ts';

const root = dirname(import.meta.dirname);
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const pages = [...globSync('docs/**/*.md', { cwd: root }), 'README.md', 'CONTRIBUTING.md'];

describe('what is generated is up to date (npm run generate)', () => {
  it.each(Object.keys(generated()))('%s', (path) => {
    expect(read(path)).toBe(generated()[path]);
  });
});

describe('every pipeline in examples and docs is valid', () => {
  const inDocs = pages.flatMap((page) =>
    [...read(page).matchAll(/```yaml\n([\s\S]*?)```/g)].map(
      (found, index) => [`${page} #${index + 1}`, found[1] ?? ''] as const,
    ),
  );
  const files = ['pipeline.example.yaml', ...globSync('examples/**/*.yaml', { cwd: root })].map(
    (path) => [path, read(path)] as const,
  );
  it.each([...files, ...inDocs])('%s', (name, text) => {
    expect(parsePipelineText(text, name, { plugins, environment: {} }).warnings).toEqual([]);
  });
  it('finds some', () => {
    expect(files.length).toBeGreaterThan(3);
    expect(inDocs.length).toBeGreaterThan(0);
  });
});

describe('links of the pages lead somewhere', () => {
  it.each(pages)('%s', (page) => {
    const targets = [...read(page).matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)/g)].map((found) => found[1] ?? '');
    expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
  });
});
