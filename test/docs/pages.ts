import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '../..');

/** Pages that people read, below the root of the repository. */
export const PAGES: readonly string[] = [
  'README.md',
  ...globSync('docs/**/*.md', { cwd: root, exclude: ['docs/adr/**'] }),
].sort();

/** What stands in a page between fences, in its order. */
export type Block =
  | { readonly kind: 'pipeline'; readonly text: string }
  | { readonly kind: 'command'; readonly line: string; readonly at: string };

/** The pipelines and the commands of a page. A line that ends in a backslash goes on. */
export function blocksOf(page: string): readonly Block[] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([whole, language, body = '']): Block[] => {
    if (language === 'yaml') return [{ kind: 'pipeline', text: body }];
    if (language !== 'sh') return [];
    const first = text.slice(0, text.indexOf(whole)).split('\n').length;
    return body
      .replaceAll(/\\\n\s*/g, ' ')
      .split('\n')
      .map((line, index) => ({ line: line.replace(/\s+#\s.*$/, '').trim(), at: `${page}:${first + 1 + index}` }))
      .filter(({ line }) => line !== '' && !line.startsWith('#'))
      .map((one) => ({ kind: 'command', ...one }));
  });
}
