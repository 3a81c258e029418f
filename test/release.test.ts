import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const root = dirname(import.meta.dirname);
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Locked {
  readonly license?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly peer?: boolean;
  readonly version?: string;
}

/** Of software that is passed on with ours: they ask for no more than to be named. */
const ALLOWED =
  /^\(?(MIT|Apache-2\.0|ISC|BSD-2-Clause|BSD-3-Clause|0BSD|BlueOak-1\.0\.0|CC0-1\.0|Unlicense|Python-2\.0|MIT-0)(?: (?:OR|AND) [\w.-]+)*\)?$/;

describe('what is installed with isthmus', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
  const installed = Object.entries(packages).filter(
    ([path, { dev, devOptional }]) => path !== '' && dev !== true && devOptional !== true,
  );

  it('has a licence that asks for no more than to be named', () => {
    expect(installed.length).toBeGreaterThan(50);
    expect(
      installed
        .filter(([, { license = '' }]) => !ALLOWED.test(license))
        .map(([path, { license }]) => `${path}: ${license}`),
    ).toEqual([]);
  });

  it('is pinned to exact versions', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<
      string,
      Record<string, string>
    >;
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
      ([, range]) => !/^(npm:.+@)?\d+\.\d+\.\d+$/.test(range),
    );
    expect(loose).toEqual([]);
  });

  it('is locked without the address of a registry', () => {
    expect(read('package-lock.json')).not.toMatch(/"resolved": "http/);
  });
});

describe('the workflows', () => {
  const files = globSync('.github/workflows/*.yml', { cwd: root });
  interface Workflow {
    readonly permissions: unknown;
    readonly jobs: Record<string, { permissions?: Record<string, string>; steps: { uses?: string; run?: string }[] }>;
  }
  const workflows = files.map((file) => [file, parse(read(file)) as Workflow] as const);

  it('are there', () => expect(files.length).toBe(3));

  it.each(workflows)('%s may read and no more, unless a job says why', (file, { permissions, jobs }) => {
    expect(permissions === 'read-all' ? { contents: 'read' } : permissions).toEqual({ contents: 'read' });
    for (const job of Object.values(jobs))
      for (const [right, how] of Object.entries(job.permissions ?? {}))
        if (how === 'write') expect(read(file), right).toMatch(new RegExp(`${right}: write # \\S`));
  });

  it.each(workflows)('%s uses actions by their commit, and leaves no credentials in the checkout', (file, { jobs }) => {
    const steps = Object.values(jobs).flatMap((job) => job.steps);
    const loose = steps.flatMap(({ uses = '' }) => (uses === '' || /@[0-9a-f]{40}$/.test(uses) ? [] : [uses]));
    expect(loose).toEqual([]);
    const checkouts = read(file).match(/actions\/checkout@/g)?.length ?? 0;
    expect(read(file).match(/persist-credentials: false/g)?.length ?? 0).toBe(checkouts);
    // What somebody else wrote into a title must not become a command.
    for (const { run = '' } of steps) expect(run).not.toMatch(/\$\{\{\s*github\.event/);
  });
});

describe('what people look for in a repository', () => {
  it.each(['LICENSE', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md', '.github/dependabot.yml'])(
    '%s is there',
    (file) => {
      expect(read(file).length).toBeGreaterThan(100);
    },
  );
});
