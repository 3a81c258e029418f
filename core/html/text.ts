import { visible } from '../api/text.ts';

/** A piece of HTML: what is not one is escaped when it is put into another. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Part = Html | string | number | undefined | readonly (Html | string)[];

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Names come from buckets of anybody: control characters and what turns the direction of text are made visible, too. */
const escaped = (text: string): string => visible(text).replace(/[&<>"']/g, (one) => ESCAPES[one] ?? one);

/** Puts parts into a template; all texts are escaped. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  const texts = parts.map((part) => {
    if (part === undefined) return '';
    if (Array.isArray(part))
      return part.map((one: Html | string) => (one instanceof Html ? one.text : escaped(one))).join('');
    return part instanceof Html ? part.text : escaped(String(part));
  });
  return new Html(strings.reduce((whole, text, index) => whole + text + (texts[index] ?? ''), ''));
}

/** `1,234,567` */
export const grouped = (count: number): string => count.toLocaleString('en-US');
