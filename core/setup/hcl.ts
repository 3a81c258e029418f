/** An attribute (its value rendered already, of one line or of many) or a nested block. */
export type Entry = readonly [name: string, value: string] | Block;

export interface Block {
  readonly block: string;
  readonly labels?: readonly string[];
  readonly body: readonly Entry[];
  /** Stands above it. */
  readonly comment?: string;
}

/** A quoted string; nothing in it is a template, whatever it holds. */
export const text = (value: string): string =>
  JSON.stringify(value).replace(/[$%]\{/g, (opening) => `${opening[0]}${opening}`);

export const list = (values: readonly string[]): string =>
  values.length < 2 ? `[${values.join(', ')}]` : `[\n${values.map((value) => `  ${value},`).join('\n')}\n]`;

/** A map of many lines, its equals signs in one column. */
export function map(entries: Readonly<Record<string, string>>): string {
  const lines = aligned(Object.entries(entries).map(([key, value]) => [text(key), value] as const));
  return `{\n${lines.map((line) => `  ${line}`).join('\n')}\n}`;
}

/** Blocks as `terraform fmt` writes them: two spaces, equals signs of adjoining lines in one column. */
export const render = (blocks: readonly Block[]): string =>
  `${blocks.map((block) => lines(block).join('\n')).join('\n\n')}\n`;

function lines({ block, labels = [], body, comment }: Block): string[] {
  const head = [block, ...labels.map((label) => JSON.stringify(label)), '{'].join(' ');
  const above = comment === undefined ? [] : comment.split('\n').map((line) => `# ${line}`);
  if (body.length === 0) return [...above, `${head}}`];
  return [...above, head, ...bodyLines(body).map((line) => (line === '' ? '' : `  ${line}`)), '}'];
}

/** One-line attributes stand together; what takes many lines has an empty line on each side. */
function bodyLines(body: readonly Entry[]): string[] {
  const groups: string[][] = [];
  let together: (readonly [string, string])[] = [];
  const flush = (): void => {
    if (together.length > 0) groups.push(aligned(together));
    together = [];
  };
  for (const entry of body) {
    if ('block' in entry) {
      flush();
      groups.push(lines(entry));
    } else if (entry[1].includes('\n')) {
      flush();
      groups.push(`${entry[0]} = ${entry[1]}`.split('\n'));
    } else together.push(entry);
  }
  flush();
  return groups.flatMap((group, index) => (index === 0 ? group : ['', ...group]));
}

function aligned(entries: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)} = ${value}`);
}
