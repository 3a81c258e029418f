/** The text of the first element of this name between two places. */
export function textIn(xml: string, name: string, at = 0, end = xml.length): string | undefined {
  const from = xml.indexOf(`<${name}>`, at);
  if (from < 0 || from >= end) return undefined;
  const begin = from + name.length + 2;
  const text = xml.slice(begin, xml.indexOf('<', begin));
  // As S3 writes every ETag.
  if (text.startsWith('&quot;') && text.endsWith('&quot;')) return `"${text.slice(6, -6)}"`;
  return text.includes('&') ? text.replace(ENTITY, decoded) : text;
}

const ENTITY = /&(?:#(\d{1,7})|#x([\da-fA-F]{1,6})|(quot|amp|lt|gt|apos));/g;
const NAMED: Readonly<Record<string, string>> = { quot: '"', amp: '&', lt: '<', gt: '>', apos: "'" };

const decoded = (_: string, decimal: string | undefined, hex: string | undefined, name: string): string => {
  const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
  return Number.isNaN(code) ? (NAMED[name] ?? '') : String.fromCodePoint(Math.min(code, 0x10ffff));
};

export const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[character] ?? '&quot;');
