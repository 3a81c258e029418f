import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import { EXIT, type Output } from './output.ts';

export interface PluginNewFlags {
  readonly kind: 'source' | 'sink';
  readonly out?: string;
  readonly package?: string;
  readonly isthmus?: string;
}

const NAME = /^[a-z](?:-?[a-z0-9]){0,40}$/;
const PACKAGE = /^(?:@[a-z0-9][\w.-]*\/)?[a-z0-9][\w.-]*$/;

/** `isthmus plugin new`: writes a package with a plugin that works, and its tests. */
export async function pluginNewCommand(
  name: string,
  flags: PluginNewFlags,
  { templates, version }: { readonly templates: string; readonly version: string },
  output: Output,
): Promise<number> {
  const { kind } = flags;
  const isCheckout = !/[\\/]node_modules[\\/]/.test(templates);
  const called = flags.package ?? `isthmus-${name}`;
  if (!NAME.test(name))
    throw invalid(`"${visible(name)}" is no name for a plugin`, 'Use lower-case letters, digits and "-": my-source');
  if (!PACKAGE.test(called)) throw invalid(`"${visible(called)}" is no name for a package`, 'Use --package @acme/…');
  const folder = resolve(flags.out ?? basename(called));
  await expectEmpty(folder);
  const words = {
    __NAME__: name,
    __EXPORT__: exportName(name, kind),
    __PACKAGE__: called,
    __KIND__: kind,
    __VERSION__: version,
    __ISTHMUS__: JSON.stringify(rangeFrom(flags.isthmus, folder) ?? `^${version}`).slice(1, -1),
  };
  const written: string[] = [];
  for (const template of ['common', kind])
    for (const file of await filesBelow(join(templates, template))) {
      const text = await readFile(join(templates, template, file), 'utf8');
      const place = join(folder, fileName(file));
      await mkdir(dirname(place), { recursive: true });
      await writeFile(
        place,
        text.replaceAll(/__[A-Z]+__/g, (word) => words[word as keyof typeof words] ?? word),
        {
          flag: 'wx',
        },
      );
      written.push(fileName(file));
    }
  const shown = relative(process.cwd(), folder) || '.';
  for (const file of written.sort()) output.out(`  ${visible(join(shown, file))}`);
  if (isCheckout && flags.isthmus === undefined)
    output.err(
      `note: this isthmus is a checkout. Where isthmus ${version} is not on npm, use --isthmus file:…/isthmus-${version}.tgz, which npm pack makes`,
    );
  output.out(`A ${kind} that works, with the suite of all ${kind}s as its test. Now:`);
  output.out(`  cd ${visible(shown)} && npm install && npm test`);
  return EXIT.complete;
}

/** A file is named from where the command is run, and found from where the package lies. */
function rangeFrom(given: string | undefined, folder: string): string | undefined {
  if (given === undefined || !/^file:/.test(given)) return given;
  const path = resolve(given.slice('file:'.length));
  if (!existsSync(path))
    throw invalid(`--isthmus: ${visible(path)} does not exist`, 'npm pack makes it, in a checkout of isthmus.');
  return `file:${relative(folder, path).split(sep).join('/')}`;
}

/** What npm would read as its own, or leave out of a package, has another name among the templates. */
const fileName = (template: string): string =>
  template.endsWith('gitignore') ? template.replace(/gitignore$/, '.gitignore') : template.replace(/\.txt$/, '');

/** No word that TypeScript keeps for itself: `delete` becomes `deleteSource`. */
const exportName = (name: string, kind: string): string => camelCase(name.endsWith(kind) ? name : `${name}-${kind}`);

const camelCase = (name: string): string => name.replaceAll(/-+([a-z0-9])/g, (_, next: string) => next.toUpperCase());

async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

async function expectEmpty(folder: string): Promise<void> {
  const there = await readdir(folder).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw invalid(`${visible(folder)} is no folder`, 'Use --out with another one.');
  });
  if (there.length > 0) throw invalid(`${visible(folder)} is not empty`, 'Use --out with another folder.');
}

const invalid = (message: string, hint: string): BrokerError => new BrokerError('invalid_config', message, { hint });
