import { createHash } from 'node:crypto';

/** A name within a limit; of names that only differ beyond it each stays apart. */
export function shortName(name: string, longest: number): string {
  if (name.length <= longest) return name;
  const mark = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${name.slice(0, longest - mark.length - 1)}-${mark}`;
}
