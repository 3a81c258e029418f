const LONGEST = 600;
/** Of an instruction: half a command is none. */
export const LONGEST_HINT = 2000;

/** Shapes of secrets, by what their issuers begin them with; the last is any bearer token in a header. */
const SECRET_SHAPES: readonly RegExp[] = [
  /\bya29\.[\w.-]+/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{12,}/g,
  // HMAC keys of Cloud Storage, which stand for a service account for ever.
  /\bGOOG[A-Z0-9]{20,}/g,
  /\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/g,
  /-----BEGIN [A-Z ]+-----[\s\S]*/g,
  /\bgh[pousr]_\w{20,}/g,
  /\bAIza[\w-]{30,}/g,
  /\bxox[abprs]-[\w-]{10,}/g,
  /\bX-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)=[^&\s"]+/gi,
  /\bBearer\s+[\w.~+/=-]+/gi,
];

/** True when a text holds something that looks like a secret. */
export function looksSecret(text: string): boolean {
  return SECRET_SHAPES.some((shape) => text.search(shape) >= 0);
}

/**
 * A text that may be shown: secrets by shape blotted out, control characters escaped (a server must not write to
 * the terminal), and no longer than 600 characters, or as is said.
 */
export function safeText(text: string, longest = LONGEST): string {
  const safe = visible(hidden(text));
  return safe.length <= longest ? safe : `${safe.slice(0, longest)}…`;
}

/** A text with its secrets blotted out, by shape. */
export const hidden = (text: string): string =>
  SECRET_SHAPES.reduce((safe, shape) => safe.replace(shape, '[hidden]'), text);

/** Escapes control characters, line breaks included, and lone surrogates. */
export function visible(text: string): string {
  return text.toWellFormed().replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    if (character === '\n') return '\\n';
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `64 MiB`, `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 03 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  const pad = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  if (minutes < 60) return `${minutes} min ${pad((ms % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}
