/**
 * What is published, looked at before it is: the tarball is small and holds no tests, its types and exports are right for those
 * who import it, and there is an SBOM of all that it brings along.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

const LARGEST = 1_000_000;
const folder = mkdtempSync(join(tmpdir(), 'isthmus-release-'));

function run(command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, NO_COLOR: '1' },
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}

try {
  const [packed] = JSON.parse(run('npm', 'pack', '--json', '--silent', '--pack-destination', folder));
  const [name] = readdirSync(folder);
  const tarball = join(folder, name);
  const wrong = packed.files
    .map(({ path }) => path)
    // Those of a new plugin, which is what they are for.
    .filter((path) => !path.startsWith('dist/config/templates/'))
    .filter(
      (path) =>
        /\.test\.|(^|\/)(fixtures|bad-input|bad-credentials|expected|bench|demo|compat|faults)\/|\.map$/.test(path) ||
        /^(docs|test)\//.test(path),
    );
  if (wrong.length > 0) throw new Error(`the tarball holds what it should not:\n${wrong.slice(0, 20).join('\n')}`);
  if (packed.size > LARGEST) throw new Error(`the tarball has ${packed.size} bytes, and ${LARGEST} are allowed`);
  process.stdout.write(
    `tarball: ${packed.files.length} files, ${packed.size} bytes, ${packed.unpackedSize} unpacked\n`,
  );

  run('publint', 'run', tarball, '--strict');
  process.stdout.write('publint: no problem\n');
  run('attw', tarball, '--profile', 'esm-only');
  process.stdout.write('attw: no problem (ESM only, on purpose)\n');

  const sbom = JSON.parse(run('npm', 'sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev'));
  if (sbom.bomFormat !== 'CycloneDX' || !(sbom.components?.length > 20)) throw new Error('npm sbom made no SBOM');
  process.stdout.write(`SBOM: CycloneDX ${sbom.specVersion}, ${sbom.components.length} components\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
