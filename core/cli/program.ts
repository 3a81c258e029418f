import { Command, Option } from 'commander';
import type { PluginDefinition } from '../api/plugin.ts';
import type { AuthRuntime } from '../auth/aws-identity.ts';
import { DOCTOR_EXIT_HELP } from '../doctor/finding.ts';
import type { Packaging } from '../package/bundle.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import type { JobFactory } from '../runtime/job.ts';
import type { ApplyFlags } from './apply.ts';
import { addAuthCommands } from './auth.ts';
import type { DoctorFlags } from './doctor.ts';
import { addExamples } from './examples.ts';
import { addKitCommands } from './kit-commands.ts';
import type { OpenOffline } from './offline.ts';
import type { Output } from './output.ts';
import type { PackageFlags } from './package.ts';
import type { PermissionsFlags } from './permissions.ts';
import { type PlanFlags, planCommand } from './plan.ts';
import type { ReceiptsFlags } from './receipts.ts';
import { type RunFlags, runCommand } from './run.ts';
import type { ServeFlags } from './serve.ts';
import type { VerifyFlags } from './verify.ts';

/** Makes an action of a command that answers with an exit code. */
export type Does = <Arguments extends unknown[]>(
  work: (...given: Arguments) => Promise<number> | number,
) => (...given: Arguments) => Promise<void>;

/** What the commands are made of. */
export interface CliParts {
  readonly jobs: JobFactory;
  readonly plugins: readonly PluginDefinition[];
  readonly runtime: AuthRuntime;
  readonly environment: Environment;
  readonly packaging: Packaging;
  readonly endpoints: { readonly googleCerts: string };
  readonly openOffline: OpenOffline;
}

const EXIT_CODES = 'Exit codes: 0 complete, 1 failed, 2 invalid input, 3 partial, 4 paused.';

/** The command line: every command, with its arguments, options, examples, and what it does. */
export function programOf(parts: CliParts, does: Does, output: Output, version: string): Command {
  const program = bareProgram(version, output);
  addRunCommands(program, does, parts, output);
  addCloudCommands(program, does, parts, output);
  addAuthCommands(program, does, parts.jobs, parts.runtime, output);
  addKitCommands(program, does, { ...parts, output, version });
  addExamples(program);
  return program;
}

/** What carries a pipeline, or looks at what was carried. */
function addRunCommands(program: Command, does: Does, { jobs, environment }: CliParts, output: Output): void {
  withRunFlags(program.command('run').description('carry out a pipeline').argument('<pipeline>', 'the pipeline file'))
    .option('--reset-state', 'forget a saved checkpoint and begin from the start')
    .option('--no-progress', 'no progress bar')
    .action(does((file: string, flags: RunFlags) => runCommand(file, flags, jobs, environment, output)));
  withRunFlags(
    program
      .command('plan')
      .description('show what a run would do; writes nothing')
      .argument('<pipeline>', 'the pipeline file'),
  )
    .option('--out <plan>', 'save it to a file that `apply` carries out')
    .action(does((file: string, flags: PlanFlags) => planCommand(file, flags, jobs, output)));
  withRunFlags(
    program
      .command('apply')
      .description('carry out a saved plan, or what a run could not carry; refuses what has changed since')
      .argument('<plan>', 'a plan, a file or folder of dead letters, or the URL of one'),
  )
    .option('--pipeline <file>', 'the pipeline file; a plan knows its own')
    .option(
      '--shard <i/n>',
      'only this part of n, from 0; with n alone, JOB_COMPLETION_INDEX or AWS_BATCH_JOB_ARRAY_INDEX say which',
    )
    .option('--no-progress', 'no progress bar')
    .action(
      does(async (plan: string, flags: ApplyFlags) =>
        (await import('./apply.ts')).applyCommand(plan, flags, jobs, environment, output),
      ),
    );
  withRunFlags(
    program
      .command('history')
      .description('the last runs of a pipeline, as its state remembers them')
      .argument('<pipeline>', 'the pipeline file'),
  ).action(
    does(async (file: string, flags: RunFlags) =>
      (await import('./history.ts')).historyCommand(file, flags, jobs, output),
    ),
  );
  withRunFlags(
    program
      .command('receipts')
      .description('check that the receipts of a pipeline are as they were written')
      .argument('<pipeline>', 'the pipeline file'),
  )
    .option('--run <id>', 'of one run only')
    .action(
      does(async (file: string, flags: ReceiptsFlags) =>
        (await import('./receipts.ts')).receiptsCommand(file, flags, jobs, output),
      ),
    );
  withRunFlags(
    program
      .command('verify')
      .description('compare both sides by size and checksum; writes nothing')
      .argument('<pipeline>', 'the pipeline file'),
  )
    .addOption(new Option('--csv', 'every finding as a line of CSV').conflicts('json'))
    .option('--extras', 'look for what no source has, too')
    .option('--deep', 'read what the sinks hold, and compare the bytes')
    .action(
      does(async (file: string, flags: VerifyFlags) =>
        (await import('./verify.ts')).verifyCommand(file, flags, jobs, output),
      ),
    );
}

/** What is about the clouds, and about running there. */
function addCloudCommands(
  program: Command,
  does: Does,
  { jobs, plugins, runtime, environment, packaging, endpoints }: CliParts,
  output: Output,
): void {
  program
    .command('doctor')
    .description('walk the keyless chain step by step and say what to fix')
    .argument('[pipeline]', 'the pipeline file; without it only this process is examined')
    .option('--offline', 'send nothing anywhere')
    .option('--json', 'one JSON document')
    .option('--explain <code>', 'explain a code, or the words of an error of any library')
    .addHelpText('after', `\n${DOCTOR_EXIT_HELP}`)
    .action(
      // Only who examines loads what examines.
      does(async (file: string | undefined, flags: DoctorFlags) =>
        (await import('./doctor.ts')).doctorCommand(file, flags, jobs, runtime, environment, output),
      ),
    );
  program
    .command('serve')
    .description('wait for pushes of Pub/Sub and carry the objects that they name')
    .argument('<pipeline>', 'the pipeline file')
    .option('--port <port>', 'default: PORT, or 8080')
    .option('--queue <pushes>', 'how many may wait; those beyond are answered 429. Default: 4 for each carried at once')
    .option('--debug', 'more in the log')
    .action(
      does(async (file: string, flags: ServeFlags) =>
        (await import('./serve.ts')).serveCommand(file, flags, jobs, environment, endpoints.googleCerts, output),
      ),
    );
  program
    .command('package')
    .description('make something deployable of a pipeline: a bundle, and the files that deploy it')
    .argument('<pipeline>', 'the pipeline file')
    .addOption(new Option('--target <target>', 'what it is for').choices(['lambda', 'container']).default('lambda'))
    .option('--distributed', 'with a state machine of Step Functions that spreads a run over many invocations')
    .option('--out <folder>', 'files go to a folder of the name of the pipeline in it', 'dist')
    .option('--json', 'one JSON document')
    .action(
      does(async (file: string, flags: PackageFlags) =>
        (await import('./package.ts')).packageCommand(file, flags, { plugins, environment, packaging }, output),
      ),
    );
  program
    .command('permissions')
    .description('print what a pipeline needs to be allowed, in both clouds')
    .argument('<pipeline>', 'the pipeline file')
    .addOption(
      new Option('--place <place>', 'where it runs on AWS').choices(['lambda', 'ecs', 'eks', 'eks-irsa', 'ec2']),
    )
    .option('--json', 'one JSON document')
    .action(
      does(async (file: string, flags: PermissionsFlags) =>
        (await import('./permissions.ts')).permissionsCommand(file, flags, jobs, output),
      ),
    );
}

function bareProgram(version: string, output: Output): Command {
  return new Command('isthmus')
    .description('Carries data between clouds without long-lived keys. One YAML file is one pipeline.')
    .version(version)
    .addHelpText('after', `\n${EXIT_CODES}`)
    .showHelpAfterError('(see isthmus --help)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.out(text.trimEnd()),
      writeErr: (text) => output.err(text.trimEnd()),
    });
}

const withRunFlags = (command: Command): Command =>
  command
    .option('--json', 'exactly one JSON document on standard output')
    .addOption(new Option('--log <format>', 'events on standard error').choices(['text', 'json']).default('text'))
    .option('--debug', 'more in the log, and stack traces of unexpected errors');
