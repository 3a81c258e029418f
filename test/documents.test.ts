import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { generated } from '../config/generate.ts';
import { plugins } from '../config/plugins.ts';
import { parsePipelineText } from '../core/pipeline/load.ts';
import { shareIn } from '../core/runtime/share.ts';
import { scalingTables } from './bench/scale-model.ts';

const root = dirname(import.meta.dirname);
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const pages = [...globSync('docs/**/*.md', { cwd: root }), 'README.md', 'CONTRIBUTING.md'];

describe('what is generated is up to date (npm run generate)', () => {
  it.each(Object.keys(generated()))('%s', (path) => {
    expect(read(path)).toBe(generated()[path]);
  });
});

describe('every pipeline in examples and docs is valid', () => {
  const inDocs = pages.flatMap((page) =>
    [...read(page).matchAll(/```yaml\n([\s\S]*?)```/g)].map(
      (found, index) => [`${page} #${index + 1}`, found[1] ?? ''] as const,
    ),
  );
  const files = ['pipeline.example.yaml', ...globSync('examples/**/*.yaml', { cwd: root })].map(
    (path) => [path, read(path)] as const,
  );
  it.each([...files, ...inDocs])('%s', (name, text) => {
    expect(parsePipelineText(text, name, { plugins, environment: {} }).warnings).toEqual([]);
  });
  it('finds some', () => {
    expect(files.length).toBeGreaterThan(3);
    expect(inDocs.length).toBeGreaterThan(0);
  });
});

describe('what examples and pages say', () => {
  it('of scaling is what the simulation comes to (npm run bench:scale)', () => {
    const [, tables] =
      /<!-- made by npm run bench:scale -->\n([\s\S]*?)\n<!-- end -->/.exec(read('docs/scaling.md')) ?? [];
    expect(tables).toBe(scalingTables());
  });
  it('of an indexed job of Kubernetes is one: its parts are as many as its completions', () => {
    const job = parse(read('examples/jobs/kubernetes-indexed-job.yml')) as {
      spec: { completionMode: string; completions: number; template: { spec: { containers: { args: string[] }[] } } };
    };
    const [command, plan, option, shards] = job.spec.template.spec.containers[0]?.args ?? [];
    expect([job.spec.completionMode, command, option]).toEqual(['Indexed', 'apply', '--shard']);
    expect(plan).toMatch(/^s3:\/\/.*\.jsonl$/);
    expect(shareIn(shards, { JOB_COMPLETION_INDEX: '7' })).toEqual({ index: 7, of: job.spec.completions });
  });
  it('of an array job of AWS Batch is one', () => {
    const job = JSON.parse(read('examples/jobs/aws-batch-array-job.json')) as {
      jobDefinition: string;
      arrayProperties: { size: number };
    };
    const definition = JSON.parse(read('examples/jobs/aws-batch-job-definition.json')) as {
      jobDefinitionName: string;
      containerProperties: { command: string[] };
    };
    expect(job.jobDefinition).toBe(definition.jobDefinitionName);
    expect(definition.containerProperties.command[0]).toBe('apply');
    const environment = { AWS_BATCH_JOB_ARRAY_INDEX: '0', AWS_BATCH_JOB_ARRAY_SIZE: String(job.arrayProperties.size) };
    expect(shareIn(undefined, environment)).toEqual({ index: 0, of: 8 });
  });
});

describe('links of the pages lead somewhere', () => {
  it.each(pages)('%s', (page) => {
    const targets = [...read(page).matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)/g)].map((found) => found[1] ?? '');
    expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
  });
});
