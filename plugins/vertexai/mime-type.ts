const TYPES: Readonly<Record<string, string>> = {
  pdf: 'application/pdf',
  txt: 'text/plain',
  md: 'text/plain',
  html: 'text/html',
  csv: 'text/csv',
  json: 'application/json',
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  mp3: 'audio/mpeg',
  wav: 'audio/wav',
  mp4: 'video/mp4',
};
const UNKNOWN = 'application/octet-stream';

/** As Cloud Storage knows it, or by the end of the name. */
export const mimeType = (url: string, known: string): string =>
  known === '' || known === UNKNOWN ? (TYPES[/\.(\w+)$/.exec(url)?.[1]?.toLowerCase() ?? ''] ?? UNKNOWN) : known;
