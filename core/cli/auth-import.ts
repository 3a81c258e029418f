import { readFile } from 'node:fs/promises';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { readCredentialFile } from '../auth/credential-file.ts';
import { EXIT, type Output } from './output.ts';

/** `isthmus auth import`: the identity that a credential configuration of gcloud describes, for a pipeline. */
export async function importCommand(
  file: string,
  flags: { readonly name: string; readonly json?: boolean },
  output: Output,
): Promise<number> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new BrokerError('invalid_config', `${file}: ${systemErrorCode(error) ?? 'it cannot be read'}`, {
      hint: 'Name the file that gcloud iam workload-identity-pools create-cred-config wrote.',
    });
  });
  const { notes: read, lifetimeSeconds, from, ...identity } = readCredentialFile(text, file);
  const notes = [
    ...read,
    ...(from === 'aws-signature'
      ? ['add expect: { awsAccountId, roleName } too: `isthmus doctor` shows both where the pipeline runs']
      : []),
  ];
  const options = {
    kind: 'gcp',
    ...(from === 'aws-signature' ? {} : { from }),
    ...identity,
    ...(lifetimeSeconds === undefined ? {} : { lifetime: `${lifetimeSeconds}s` }),
  };
  if (flags.json === true) {
    output.out(JSON.stringify({ identities: { [flags.name]: options }, notes }));
    return EXIT.complete;
  }
  output.out('identities:');
  output.out(`  ${flags.name}:`);
  for (const [key, value] of Object.entries(options)) output.out(`    ${key}: ${value}`);
  for (const note of notes) output.err(`note: ${note}`);
  return EXIT.complete;
}
