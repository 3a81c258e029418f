import type { Result } from './run.ts';

const WIDTH = 760;
const BAR = 18;
const LEFT = 210;
const COLOURS = { ours: '#0b6e4f', theirs: '#9aa5b1' };

const escaped = (text: string): string => text.replace(/[&<>]/g, (one) => `&#${one.charCodeAt(0)};`);

/** Processor time by class and contender, as bars: shorter is better. */
export function chart(results: readonly Result[]): string {
  const classes = [...new Set(results.map((result) => result.class))].filter((name) => !/ms|cores/.test(name));
  const parts: string[] = [];
  let y = 20;
  const text = (x: number, content: string, more = ''): void =>
    void parts.push(`<text x="${x}" y="${y + 13}" font-size="12" ${more}>${escaped(content)}</text>`);
  for (const name of classes) {
    const of = results.filter((result) => result.class === name);
    const isSmall = of.some(({ objects, bytes }) => objects >= 1000 && bytes / objects < 100_000);
    const cost = ({ cpuMs, objects, bytes }: Result): number =>
      isSmall ? cpuMs / objects : cpuMs / 1000 / (bytes / 2 ** 30);
    text(10, `${name}: CPU ${isSmall ? 'milliseconds an object' : 'seconds a GiB'}`, 'font-weight="bold"');
    y += BAR + 4;
    const most = Math.max(...of.map(cost));
    for (const result of of) {
      const width = Math.max(2, ((WIDTH - LEFT - 80) * cost(result)) / most);
      const colour = result.contender.startsWith('Isthmus') ? COLOURS.ours : COLOURS.theirs;
      text(10, result.contender);
      parts.push(`<rect x="${LEFT}" y="${y + 2}" width="${width.toFixed(1)}" height="${BAR - 5}" fill="${colour}"/>`);
      text(LEFT + width + 6, cost(result).toFixed(isSmall ? 3 : 2));
      y += BAR;
    }
    y += 12;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" font-family="system-ui, sans-serif" role="img" aria-label="Processor time by kind of object and program; shorter is better"><rect width="100%" height="100%" fill="white"/>${parts.join('')}</svg>\n`;
}
