import { readdir, readFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { z } from 'zod';

/** What a package that is in a bundle says of itself. */
export interface Licence {
  readonly name: string;
  readonly version: string;
  /** SPDX, as its package.json has it. */
  readonly licence: string;
  /** The text that comes with it, if there is one. */
  readonly text: string | undefined;
}

const manifest = z.object({
  name: z.string(),
  version: z.string(),
  license: z.union([z.string(), z.object({ type: z.string() }).transform(({ type }) => type)]).default('not stated'),
});

const PACKAGE = /^(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/;

/** The packages whose files are in a bundle, by name. @param files absolute. */
export async function licencesOf(files: readonly string[]): Promise<readonly Licence[]> {
  const roots = new Set(files.flatMap((file) => PACKAGE.exec(file)?.[1] ?? []));
  const found = await Promise.all([...roots].map(one));
  return found
    .filter((licence) => licence !== undefined)
    .sort((a, b) => (a.name + a.version < b.name + b.version ? -1 : 1));
}

async function one(root: string): Promise<Licence | undefined> {
  const text = await readFile(join(root, 'package.json'), 'utf8').catch(() => undefined);
  const parsed = text === undefined ? undefined : manifest.safeParse(JSON.parse(text));
  if (parsed?.success !== true) return undefined;
  const { name, version, license } = parsed.data;
  const file = (await readdir(root)).find((entry) => /^(licen[cs]e|copying)(\.|$)/i.test(entry));
  const words = file === undefined ? undefined : await readFile(root + sep + file, 'utf8').catch(() => undefined);
  return { name, version, licence: license, text: words?.trim() };
}

/** What whoever passes a bundle on has to pass on with it. */
export function licencesText(licences: readonly Licence[]): string {
  const head = 'The bundle holds code of these packages, each under its own licence.';
  const list = licences.map(({ name, version, licence }) => `${name} ${version}: ${licence}`).join('\n');
  const texts = licences.map(
    ({ name, version, licence, text }) =>
      `${'-'.repeat(80)}\n${name} ${version} (${licence})\n\n${text ?? 'No text comes with it.'}\n`,
  );
  return `${head}\n\n${list}\n\n${texts.join('\n')}`;
}
