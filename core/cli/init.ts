import { access, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import process from 'node:process';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import type { PluginDefinition } from '../api/plugin.ts';
import { visible } from '../api/text.ts';
import { pipelineJsonSchema } from '../pipeline/documents.ts';
import { InvalidPipeline } from '../pipeline/problem.ts';
import type { JobFactory } from '../runtime/job.ts';
import { type Answers, POOL, PROVIDER, pipelineText } from './init-pipeline.ts';
import { FROM, isGoogle, isSink, type Place, placeIn, placeProblem, TO } from './init-place.ts';
import { EXIT, type Output } from './output.ts';

export interface InitFlags {
  readonly name?: string;
  readonly from?: string;
  readonly to?: string;
  readonly region?: string;
  readonly projectNumber?: string;
  readonly pool?: string;
  readonly provider?: string;
  readonly serviceAccount?: string;
  readonly account?: string;
  readonly role?: string;
  readonly staging?: string;
  readonly state?: string;
  readonly force?: boolean;
}

/** Asks a person; undefined where nobody can be asked. */
export type Ask = (question: string, check: (text: string) => string | undefined, initial?: string) => Promise<string>;

/** `isthmus init`: writes a pipeline file with comments, from flags, or from what a person answers. */
export async function initCommand(
  file: string,
  flags: InitFlags,
  jobs: JobFactory,
  plugins: readonly PluginDefinition[],
  output: Output,
  ask: Ask | undefined,
): Promise<number> {
  const place = resolve(file);
  if (flags.force !== true) await expectAbsent(place, file);
  const schema = await schemaFor(place);
  const answers = await answersOf(file, flags, schema.line, ask);
  await writeValid(place, pipelineText(answers), jobs);
  output.out(`wrote ${visible(file)}`);
  if (schema.write !== undefined && (flags.force === true || !(await isThere(schema.write)))) {
    await writeFile(schema.write, `${JSON.stringify(pipelineJsonSchema(plugins), null, 2)}\n`);
    output.out(`wrote ${visible(relative(process.cwd(), schema.write))}, for editors`);
  }
  for (const change of answers.changes) output.out(`  to change: ${change}`);
  output.out('Now:');
  for (const line of next(file, answers)) output.out(`  ${line}`);
  return EXIT.complete;
}

/** A file that is not valid is none: it would only be in the way. */
async function writeValid(place: string, text: string, jobs: JobFactory): Promise<void> {
  const draft = join(dirname(place), `.${basename(place)}.${process.pid}.yaml`);
  try {
    await writeFile(draft, text);
    await jobs.load(draft);
    await rename(draft, place);
  } catch (error) {
    await rm(draft, { force: true });
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw refused(`there is no folder ${visible(dirname(place))}`, 'Make it first.');
    if (!(error instanceof InvalidPipeline)) throw error;
    const [first] = error.problems;
    throw refused(`${first?.path === undefined ? '' : `${first.path}: `}${first?.message}`);
  }
}

const refused = (message: string, hint = 'See isthmus init --help.'): BrokerError =>
  new BrokerError('invalid_config', message, { hint });

function next(file: string, { from, to }: Answers): readonly string[] {
  const path = visible(file);
  const google = isGoogle(from) || isGoogle(to);
  return [
    `isthmus validate ${path}     # after each change; touches no network`,
    `isthmus test ${path} --update   # offline, with files that you put into ${path.replace(/\.ya?ml$/, '')}.test/source/`,
    ...(google ? [`isthmus auth setup ${path}   # what an administrator runs, for both clouds`] : []),
    ...(google ? [`isthmus doctor ${path}       # whether the keyless chain works, step by step`] : []),
    `isthmus plan ${path}         # what a run would do; writes nothing`,
    `isthmus run ${path}`,
  ];
}

async function answersOf(file: string, flags: InitFlags, schema: string, ask: Ask | undefined): Promise<Answers> {
  const told = async (
    flag: keyof InitFlags,
    question: string,
    check: (text: string) => string | undefined,
    initial?: string,
  ): Promise<string> => {
    const given = flags[flag];
    const text = typeof given === 'string' ? given : await asked(flag, question, check, ask, initial);
    const problem = check(text);
    if (problem !== undefined) throw refused(`--${dashed(flag)}: ${problem}`);
    return text;
  };
  const optional = async (
    flag: keyof InitFlags,
    question: string,
    check: (text: string) => string | undefined,
  ): Promise<string | undefined> => {
    if (flags[flag] === undefined && ask === undefined) return undefined;
    const text = await told(flag, `${question} (empty: later)`, (one) => (one === '' ? undefined : check(one)), '');
    return text === '' ? undefined : text;
  };
  for (const flag of ['pool', 'provider'] as const)
    if (flags[flag] !== undefined && idProblem(flags[flag]) !== undefined)
      throw refused(`--${flag}: ${idProblem(flags[flag])}`);
  const stem = basename(file).replace(/\.ya?ml$/, '');
  const name = flags.name ?? (ask === undefined ? stem : await ask('Name of the pipeline', nameProblem, stem));
  if (nameProblem(name) !== undefined)
    throw refused(
      `the name of the pipeline: ${nameProblem(name)}`,
      'It is that of the file: use --name with lower-case letters, digits and "-".',
    );
  const from = placeIn(await told('from', `From where? ${FROM}`, fromProblem)) as Place;
  const to = placeIn(await told('to', `To where? ${TO}`, toProblem)) as Place;
  const onS3 = from.use === 's3' || to.use === 's3';
  const region = onS3
    ? await optional('region', 'Region of the bucket in S3', pattern(/^[a-z]{2}(-[a-z]+)+-\d$/, 'eu-west-1'))
    : undefined;
  const google = isGoogle(from) || isGoogle(to);
  const number = google
    ? await optional(
        'projectNumber',
        'Number of the Google project with the workload identity pool',
        pattern(/^\d{6,20}$/, '123456789012'),
      )
    : undefined;
  const serviceAccount = google
    ? await optional(
        'serviceAccount',
        'Service account to impersonate',
        pattern(/^[^@\s]+@[^@\s]+$/, 'reader@project.iam.gserviceaccount.com'),
      )
    : undefined;
  const account = google
    ? await optional('account', 'AWS account that runs it', pattern(/^\d{12}$/, '111122223333'))
    : undefined;
  const role =
    flags.role === undefined && account === undefined
      ? undefined
      : await optional('role', 'IAM role that runs it, its name', pattern(/^[\w+=,.@-]{1,64}$/, 'exports'));
  if ((account === undefined) !== (role === undefined))
    throw refused(
      `--${account === undefined ? 'account' : 'role'} is needed with --${account === undefined ? 'role' : 'account'}`,
    );
  const staging =
    from.use === 'bigquery'
      ? await optional('staging', 'Bucket for exports on their way', pattern(/^[a-z0-9][a-z0-9._-]+$/, 'my-staging'))
      : undefined;
  const state = await optional('state', 'Where paused runs are remembered: s3://bucket/prefix/', stateProblem);
  return {
    name,
    from,
    to,
    region,
    provider:
      number === undefined
        ? undefined
        : { projectNumber: number, pool: flags.pool ?? POOL, provider: flags.provider ?? PROVIDER },
    serviceAccount,
    expect: account === undefined || role === undefined ? undefined : { awsAccountId: account, roleName: role },
    staging,
    state: state === undefined ? undefined : (placeIn(state) as Answers['state']),
    schema,
    changes: [
      ...(google && number === undefined ? ['the project number in the audience of the identity'] : []),
      ...(from.use === 'bigquery' && staging === undefined ? ['the bucket for exports on their way'] : []),
    ],
  };
}

async function asked(
  flag: string,
  question: string,
  check: (text: string) => string | undefined,
  ask: Ask | undefined,
  initial?: string,
): Promise<string> {
  if (ask !== undefined) return ask(question, check, initial);
  throw new BrokerError('invalid_config', `--${dashed(flag)} is needed where nobody can be asked`, {
    hint: 'isthmus init pipeline.yaml --from gs://bucket/prefix/ --to s3://bucket/prefix/',
  });
}

const dashed = (flag: string): string => flag.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const pattern =
  (form: RegExp, example: string) =>
  (text: string): string | undefined =>
    form.test(text) ? undefined : `"${visible(text)}" is not of the form ${example}`;
/** Of pools and providers. Source: https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools */
const idProblem = pattern(/^[a-z0-9-]{4,32}$/, POOL);
const nameProblem = pattern(/^[a-z0-9][a-z0-9-]{0,62}$/, 'nightly-exports');
const fromProblem = (text: string): string | undefined =>
  placeIn(text) === undefined ? (placeProblem(text) ?? `"${visible(text)}" is none of ${FROM}`) : undefined;
const toProblem = (text: string): string | undefined => {
  const place = placeIn(text);
  if (place === undefined) return placeProblem(text) ?? `"${visible(text)}" is none of ${TO}`;
  return isSink(place) ? undefined : `"${visible(text)}" is none of ${TO}`;
};
const stateProblem = (text: string): string | undefined =>
  placeIn(text)?.use === 's3' ? undefined : `"${visible(text)}" is not of the form s3://bucket/prefix/`;

/** The schema of the installed package, if the file lies in such a project; else one is written beside it. */
async function schemaFor(file: string): Promise<{ readonly line: string; readonly write?: string }> {
  const folder = dirname(file);
  for (let at = folder; ; at = dirname(at)) {
    const installed = join(at, 'node_modules/isthmus/dist/config/pipeline.schema.json');
    if (await isThere(installed)) {
      const path = relative(folder, installed).split('\\').join('/');
      return { line: path.startsWith('.') ? path : `./${path}` };
    }
    if (at === dirname(at)) return { line: './pipeline.schema.json', write: join(folder, 'pipeline.schema.json') };
  }
}

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

async function expectAbsent(place: string, shown: string): Promise<void> {
  const there = await access(place).then(
    () => true,
    (error: unknown) => systemErrorCode(error) !== 'ENOENT',
  );
  if (there)
    throw new BrokerError('invalid_config', `${visible(shown)} is there already`, {
      hint: 'Name another file, or use --force to replace it.',
    });
}
