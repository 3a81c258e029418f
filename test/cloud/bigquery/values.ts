const DAY = 86_400_000;
export const days = (date: string): number => Date.parse(`${date}T00:00:00Z`) / DAY;
const fraction = (text: string): number => Number(`${/\.(\d+)/.exec(text)?.[1] ?? ''}000000`.slice(0, 6));
export const timeMicros = (time: string): bigint => {
  const [hours = 0, minutes = 0, seconds = 0] = time.split('.')[0]?.split(':').map(Number) ?? [];
  return BigInt(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction(time));
};
export const datetimeMicros = (text: string): bigint =>
  BigInt(Date.parse(`${text.slice(0, 19)}Z`)) * 1000n + BigInt(fraction(text));

/** A decimal as the integer that it is at a scale. */
export function unscaled(text: string, scale: number): bigint {
  const [whole = '0', rest = ''] = text.replace(/^[+-]/, '').split('.');
  const digits = BigInt(whole + rest.padEnd(scale, '0').slice(0, scale));
  return text.startsWith('-') ? -digits : digits;
}

export const DECIMALS: Readonly<Record<string, readonly [precision: number, scale: number, bytes: number]>> = {
  NUMERIC: [38, 9, 16],
  BIGNUMERIC: [77, 38, 32],
};

/** A value that both formats hold in the same form. */
export function plainValue(type: string, text: string): bigint | number | boolean | Buffer | string {
  switch (type) {
    case 'INTEGER':
    case 'TIMESTAMP':
      return BigInt(text);
    case 'FLOAT':
      return Number(text);
    case 'BOOLEAN':
      return text === 'true';
    case 'BYTES':
      return Buffer.from(text, 'base64');
    default:
      return text;
  }
}
