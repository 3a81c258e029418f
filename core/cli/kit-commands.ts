import { type Command, Option } from 'commander';
import type { PluginDefinition } from '../api/plugin.ts';
import type { Packaging } from '../package/bundle.ts';
import type { JobFactory } from '../runtime/job.ts';
import type { InitFlags } from './init.ts';
import { type PluginsFlags, pluginsCommand, schemaCommand, validateCommand } from './inspect.ts';
import type { OpenOffline } from './offline.ts';
import type { Output } from './output.ts';
import type { PluginNewFlags } from './plugin-new.ts';
import type { Does } from './program.ts';
import type { ReportFlags } from './report.ts';
import type { TestFlags } from './test.ts';

export interface KitParts {
  readonly jobs: JobFactory;
  readonly plugins: readonly PluginDefinition[];
  readonly packaging: Packaging;
  readonly openOffline: OpenOffline;
  readonly output: Output;
  readonly version: string;
}

/** The commands of those who write pipelines and plugins: they touch no cloud. Each is loaded when it is used. */
export function addKitCommands(program: Command, does: Does, parts: KitParts): void {
  const { jobs, plugins, packaging, openOffline, output, version } = parts;
  program
    .command('init')
    .description('write a pipeline file with comments; asks for what no flag says')
    .argument('[pipeline]', 'the file to write', 'pipeline.yaml')
    .option(
      '--from <place>',
      'gs://bucket/prefix/, s3://bucket/prefix/, bq://project.dataset.table, https://…, ./folder',
    )
    .option('--to <place>', 's3://bucket/prefix/, gs://bucket/prefix/, ./folder')
    .option('--name <name>', 'of the pipeline; default: that of the file')
    .option('--region <region>', 'of the bucket in S3')
    .option('--project-number <number>', 'of the Google project with the workload identity pool')
    .option('--pool <id>', 'of the workload identity pool; default: aws-prod')
    .option('--provider <id>', 'of the provider in it; default: isthmus')
    .option('--service-account <email>', 'to impersonate')
    .option('--account <id>', 'the AWS account that runs it')
    .option('--role <name>', 'the IAM role that runs it')
    .option('--staging <bucket>', 'for exports of BigQuery on their way')
    .option('--state <place>', 'where paused runs are remembered: s3://bucket/prefix/')
    .option('--force', 'replace a file that is there')
    .action(
      does(async (file: string, flags: InitFlags) => {
        const [{ initCommand }, { terminalAsk }] = await Promise.all([import('./init.ts'), import('./ask.ts')]);
        const ask = flags.from !== undefined && flags.to !== undefined ? undefined : terminalAsk();
        return initCommand(file, flags, jobs, plugins, output, ask);
      }),
    );
  program
    .command('validate')
    .description('check pipeline files; touches no network')
    .argument('<pipelines...>', 'the pipeline files')
    .option('--json', 'one JSON document')
    .action(
      does((files: string[], flags: { json?: boolean }) => validateCommand(files, flags.json === true, jobs, output)),
    );
  program
    .command('test')
    .description('run pipelines offline against the local cloud, with fixtures, and compare what comes of it')
    .argument('<pipelines...>', 'the pipeline files; the fixtures of x.yaml are in x.test/')
    .option('--update', 'keep what came of it as what is expected')
    .option('--json', 'one JSON document')
    .action(
      does(async (files: string[], flags: TestFlags) =>
        (await import('./test.ts')).testCommand(files, flags, openOffline, output),
      ),
    );
  program
    .command('report')
    .description('make one page of HTML of what a run has printed')
    .argument('<files...>', 'of run --json, --log json, history --json, doctor --json; receipts; the pipeline file')
    .option('--out <file>', 'the page', 'report.html')
    .action(
      does(async (files: string[], flags: ReportFlags) =>
        (await import('./report.ts')).reportCommand(files, flags, jobs, output),
      ),
    );
  program
    .command('plugins')
    .description('list the plugins, or the options of one')
    .argument('[name]', 'a plugin')
    .option('--pipeline <file>', 'with those that this pipeline brings along')
    .option('--json', 'one JSON document')
    .action(does((name: string | undefined, flags: PluginsFlags) => pluginsCommand(name, flags, plugins, output)));
  program
    .command('schema')
    .description('print the JSON Schema of pipeline files, for editors')
    .argument('[pipeline]', 'with the plugins that this pipeline brings along')
    .action(does((file: string | undefined) => schemaCommand(file, plugins, output)));
  const plugin = program.command('plugin').description('write plugins of your own');
  plugin
    .command('new')
    .description('write a package with a plugin that works, its tests, and what CI needs')
    .argument('<name>', 'of the plugin: what a pipeline writes behind `use:`')
    .addOption(new Option('--kind <kind>', 'what it is').choices(['source', 'sink']).makeOptionMandatory())
    .option('--out <folder>', 'default: the name of the package')
    .option('--package <name>', 'of the npm package; default: isthmus-NAME')
    .option('--isthmus <range>', 'which isthmus it is developed with: a version, or file:…/isthmus.tgz')
    .action(
      does(async (name: string, flags: PluginNewFlags) =>
        (await import('./plugin-new.ts')).pluginNewCommand(
          name,
          flags,
          { templates: packaging.templates, version },
          output,
        ),
      ),
    );
}
