import { zipSync } from 'fflate';

/** The earliest time that a zip can hold; the same for every file, so that equal input gives equal bytes. */
const EPOCH = '1980-01-01T00:00:00';
const UNIX = 3;
/** A file that everybody may read: Lambda runs as a user of its own. */
const READABLE = 0o100644 << 16;

/** A zip whose bytes depend on the names and contents of the files and on nothing else. */
export function zipOf(files: Readonly<Record<string, Uint8Array>>): Uint8Array {
  const sorted = Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1));
  return zipSync(Object.fromEntries(sorted), { level: 9, mtime: localTime(EPOCH), os: UNIX, attrs: READABLE });
}

/** Zips hold local time: this is the same wherever it is. */
const localTime = (text: string): Date => new Date(text);
