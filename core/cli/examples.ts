import type { Command } from 'commander';

/** What each command is used for, by its name: a command line, and what it does. Shown by `--help`, and run by a test. */
export const EXAMPLES: Readonly<Record<string, readonly (readonly [line: string, does: string])[]>> = {
  run: [
    ['isthmus run pipeline.yaml', 'carry it out; a bar on a terminal, plain lines elsewhere'],
    ['isthmus run pipeline.yaml --json --log json > run.json 2> run.log', 'for machines, and for isthmus report'],
  ],
  plan: [
    ['isthmus plan pipeline.yaml', 'every action with its reason; writes nothing'],
    ['isthmus plan pipeline.yaml --out plan.jsonl', 'the same as a file, to look at and to apply'],
  ],
  apply: [['isthmus apply plan.jsonl', 'exactly what the plan says; what has changed since is refused']],
  history: [['isthmus history pipeline.yaml', 'the last runs, the newest first']],
  receipts: [['isthmus receipts pipeline.yaml', 'whether a line was changed since it was written']],
  verify: [
    ['isthmus verify pipeline.yaml', 'both sides by checksum; reads no content'],
    ['isthmus verify pipeline.yaml --deep --extras', 'by reading, and what no source has'],
  ],
  doctor: [
    ['isthmus doctor pipeline.yaml', 'each step of the keyless chain, and its fix'],
    ['isthmus doctor --explain STS_ATTRIBUTE_CONDITION', 'one error, its cause and fix'],
  ],
  serve: [['isthmus serve pipeline.yaml --port 8080', 'carry what Pub/Sub pushes']],
  package: [
    ['isthmus package pipeline.yaml', 'a Lambda with SAM and Terraform, in dist/'],
    ['isthmus package pipeline.yaml --target container', 'a container with ECS and Kubernetes'],
  ],
  permissions: [['isthmus permissions pipeline.yaml', 'every permission in both clouds, and why']],
  validate: [['isthmus validate pipeline.yaml', 'every mistake at once, with line and column']],
  plugins: [
    ['isthmus plugins', 'what there is'],
    ['isthmus plugins s3', 'the options of one'],
    ['isthmus plugins --pipeline pipeline.yaml', 'with those that a pipeline brings along'],
  ],
  schema: [['isthmus schema pipeline.yaml > pipeline.schema.json', 'for editors, with its own plugins']],
  init: [
    ['isthmus init', 'asks, and writes pipeline.yaml'],
    [
      'isthmus init new.yaml --from gs://acme-exports/2026/ --to s3://acme-lake/raw/ --region eu-west-1',
      'asks nothing',
    ],
  ],
  test: [
    [
      'isthmus test pipeline.yaml --update',
      'run it offline with the files of pipeline.test/, and keep what came of it',
    ],
    ['isthmus test pipeline.yaml', 'run it again, and compare'],
  ],
  report: [['isthmus report pipeline.yaml run.json run.log', 'report.html: one page, nothing from elsewhere']],
  'plugin new': [['isthmus plugin new my-source --kind source', 'a package with a plugin that works, and its tests']],
  completion: [['isthmus completion bash', 'a script to source; also zsh, fish, powershell']],
  'auth setup': [
    ['isthmus auth setup pipeline.yaml', 'Terraform for both clouds, to read'],
    ['isthmus auth setup pipeline.yaml --out setup', 'all of it in a folder'],
  ],
  'auth token': [['isthmus auth token pipeline.yaml', 'who the identity is']],
  'auth import': [['isthmus auth import credentials.json', 'an identity from what gcloud wrote']],
};

/** Puts the examples behind the help of every command. */
export function addExamples(command: Command, path = ''): void {
  const examples = EXAMPLES[path];
  if (examples !== undefined) {
    const lines = examples.map(([line, does]) => `  ${line}\n      ${does}`);
    command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
  }
  for (const inner of command.commands) addExamples(inner, `${path} ${inner.name()}`.trim());
}
