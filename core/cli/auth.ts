import { type Command, InvalidArgumentError, Option } from 'commander';
import type { AuthRuntime } from '../auth/aws-identity.ts';
import type { JobFactory } from '../runtime/job.ts';
import type { SetupFlags } from './auth-setup.ts';
import type { TokenFlags } from './auth-token.ts';
import type { Output } from './output.ts';
import type { Does } from './program.ts';

/**
 * `isthmus auth …`: set the identities of a pipeline up, look at them, and take them over from gcloud. Each command is
 * loaded when it is used.
 */
export function addAuthCommands(
  program: Command,
  does: Does,
  jobs: JobFactory,
  runtime: AuthRuntime,
  output: Output,
): void {
  const auth = program.command('auth').description('set up and inspect the identities of a pipeline');
  auth
    .command('setup')
    .description('print what administrators of both clouds run for a pipeline')
    .argument('[pipelines...]', 'the pipeline files; those that share a provider belong together')
    .addOption(new Option('--format <format>', 'what is printed').choices(['terraform', 'shell']).default('terraform'))
    .addOption(
      new Option(
        '--place <place>',
        'where the pipeline runs on AWS; default: as `require` of its identity says (pod-role: eks), or lambda',
      ).choices(['lambda', 'ecs', 'eks', 'eks-irsa', 'ec2']),
    )
    .addOption(
      new Option('--role-id <id>', 'pin the role by its unique id too: aws iam get-role --query Role.RoleId').argParser(
        roleId,
      ),
    )
    .option('--out <folder>', 'write all of it into a folder')
    .option('--check <files...>', 'look for lax trust in settings: JSON of gcloud or aws, or Terraform')
    .option('--json', 'one JSON document, with --check')
    .action(
      does(async (files: string[], flags: SetupFlags) =>
        (await import('./auth-setup.ts')).setupCommand(files, flags, jobs, output),
      ),
    );
  auth
    .command('token')
    .description('print who an identity is, or with a --print flag its token')
    .argument('<pipeline>', 'the pipeline file')
    .option('--identity <name>', 'which identity; default: the first of kind gcp')
    .option(
      '--scope <scope>',
      'an OAuth scope, may be given again; default: what the source of the pipeline asks for',
      (scope: string, before: unknown) => [...(Array.isArray(before) ? (before as string[]) : []), scope],
    )
    .option('--audience <audience>', 'of an ID token')
    .option('--print-access-token', 'print the access token and nothing else')
    .option('--print-id-token', 'print the ID token and nothing else')
    .option('--print-credentials', 'print AWS credentials as a credential_process does')
    .option('--json', 'one JSON document; never a token')
    .action(
      does(async (file: string, flags: TokenFlags) =>
        (await import('./auth-token.ts')).tokenCommand(file, flags, jobs, runtime, output),
      ),
    );
  auth
    .command('import')
    .description('turn a credential configuration of gcloud into an identity')
    .argument('<file>', 'what gcloud iam workload-identity-pools create-cred-config wrote')
    .addOption(new Option('--name <name>', 'of the identity').argParser(identityName).default('reader'))
    .option('--json', 'one JSON document')
    .action(
      does(async (file: string, flags: { readonly name: string; readonly json?: boolean }) =>
        (await import('./auth-import.ts')).importCommand(file, flags, output),
      ),
    );
}

function roleId(text: string): string {
  if (/^AROA[A-Z0-9]{12,28}$/.test(text)) return text;
  throw new InvalidArgumentError('It begins with AROA.');
}

function identityName(text: string): string {
  if (/^[A-Za-z][\w-]{0,63}$/.test(text)) return text;
  throw new InvalidArgumentError('It begins with a letter and holds letters, digits, "-" and "_".');
}
