import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import type { JobFactory } from '../runtime/job.ts';
import { lintSettings } from '../setup/lint.ts';
import { type AwsPlace, type Setup, setupOf } from '../setup/model.ts';
import { awsScript, googleScript } from '../setup/shell.ts';
import { accountsOf, awsTerraform } from '../setup/terraform-aws.ts';
import { googleTerraform } from '../setup/terraform-google.ts';
import { EXIT, type Output } from './output.ts';

export interface SetupFlags {
  readonly format: 'terraform' | 'shell';
  readonly place?: AwsPlace;
  readonly roleId?: string;
  readonly out?: string;
  readonly check?: readonly string[];
  readonly json?: boolean;
}

/** `isthmus auth setup`: what administrators of the two clouds run for one pipeline. */
export async function setupCommand(
  paths: readonly string[],
  flags: SetupFlags,
  jobs: JobFactory,
  output: Output,
): Promise<number> {
  if (flags.check !== undefined) return checkCommand(flags.check, flags.json === true, output);
  if (flags.json === true)
    throw new BrokerError('invalid_config', '--json is for --check', {
      hint: 'Leave it out: the output is Terraform, or a script.',
    });
  if (paths.length === 0) {
    throw new BrokerError('invalid_config', 'no pipeline is named', {
      hint: 'isthmus auth setup pipeline.yaml, or isthmus auth setup --check FILE',
    });
  }
  const pipelines = await Promise.all(paths.map((path) => jobs.load(path)));
  const setup = setupOf(pipelines, { roleId: flags.roleId, place: flags.place });
  const files = filesOf(setup, flags.out === undefined ? flags.format : undefined);
  if (flags.out !== undefined) return write(flags.out, files, output);
  const shown = Object.entries(files);
  for (const [name, text] of shown) output.out(shown.length === 1 ? text.trimEnd() : `# --- ${name} ---\n${text}`);
  if (shown.length === 0) output.err('nothing has to be set up for this pipeline');
  return EXIT.complete;
}

/** By path; one module and one script for each administrator. */
function filesOf(setup: Setup, format?: SetupFlags['format']): Readonly<Record<string, string>> {
  const accounts = accountsOf(setup);
  const folder = (account: string): string =>
    accounts.length === 1 ? 'aws' : `aws-${account.replace(/\D/g, '') || 'own'}`;
  const terraform: (readonly [string, string | undefined])[] = [
    ['google/main.tf', googleTerraform(setup)],
    ...accounts.map((account) => [`${folder(account)}/main.tf`, awsTerraform(setup, account)] as const),
  ];
  const shell: (readonly [string, string | undefined])[] = [
    ['google.sh', googleScript(setup)],
    ...accounts.map((account) => [`${folder(account)}.sh`, awsScript(setup, account)] as const),
  ];
  const all = [...(format === 'shell' ? [] : terraform), ...(format === 'terraform' ? [] : shell)];
  return Object.fromEntries(all.filter((entry): entry is readonly [string, string] => entry[1] !== undefined));
}

/** Nothing that is there already is overwritten: the files are the user's once they are made. */
async function write(folder: string, files: Readonly<Record<string, string>>, output: Output): Promise<number> {
  const paths = Object.keys(files).map((name) => join(folder, name));
  const there = paths.filter((path) => existsSync(path));
  const hint = 'Choose an empty folder with --out.';
  if (there.length > 0) throw new BrokerError('invalid_config', `${there.join(', ')}: exists already`, { hint });
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name);
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text, { flag: 'wx', mode: name.endsWith('.sh') ? 0o755 : 0o644 });
    } catch (error) {
      const why = systemErrorCode(error) ?? 'it cannot be written';
      throw new BrokerError('invalid_config', `${path}: ${why}`, { hint });
    }
    output.out(path);
  }
  return EXIT.complete;
}

/** `isthmus auth setup --check`: reads settings as they are and names what is too lax. */
async function checkCommand(paths: readonly string[], json: boolean, output: Output): Promise<number> {
  const all = [];
  const unread: BrokerError[] = [];
  for (const path of paths) {
    try {
      const text = await readFile(path, 'utf8');
      all.push(...lintSettings(text, path).map((finding) => ({ file: path, ...finding })));
    } catch (error) {
      // The others are judged all the same; the command fails in the end.
      unread.push(error instanceof BrokerError ? error : unreadable(path, error));
    }
  }
  if (json) output.out(JSON.stringify(all));
  else {
    for (const { file, place, severity, message, fix } of all) {
      output.out(`${visible(file)}: ${severity}: ${place}: ${message}`);
      output.out(`  fix: ${fix}`);
    }
    const checked = paths.length - unread.length;
    if (all.length > 0) output.out(`${all.length} found`);
    else if (checked > 0) output.out(`${checked} checked: nothing found that is too lax`);
  }
  for (const { message, hint } of unread) output.err(`error: ${message}\n  ${hint}`);
  if (unread.length > 0) return EXIT.invalid;
  return all.some(({ severity }) => severity === 'error') ? EXIT.failed : EXIT.complete;
}

const unreadable = (path: string, error: unknown): BrokerError =>
  new BrokerError('invalid_config', `${visible(path)}: ${systemErrorCode(error) ?? 'it cannot be read'}`, {
    hint: 'Name a file: the JSON of gcloud or aws, or Terraform.',
  });
