import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { build } from 'esbuild';
import { packageInto } from '../package/packaged.ts';

const root = join(import.meta.dirname, '../..');
const peers = join(root, '.compat/peers');
const PYTHON = ['boto3==1.44.8', 'google-cloud-storage==3.17.1'];
/** The newest that could be built, and Debian 12's own. */
const RCLONE = 'github.com/rclone/rclone@v1.76.0';

export interface Endpoints {
  readonly gcs: string;
  readonly s3: string;
  /** The certificate of both, PEM. */
  readonly ca: string;
}

export interface Task {
  readonly bucket: string;
  readonly objects: number;
  /** Transfers at once, where that is not the contender's own choice. */
  readonly lanes?: number;
}

export interface Contender {
  readonly name: string;
  readonly version: string;
  /** It takes so long for a small object that it carries a tenth of them. */
  readonly isSlow?: true;
  /** What it leaves out that the others do. */
  readonly without?: string;
  command(task: Task, endpoints: Endpoints): Promise<readonly string[]>;
  environment(endpoints: Endpoints): Readonly<Record<string, string>>;
}

const common = ({ gcs, s3, ca }: Endpoints): Record<string, string> => ({
  ISTHMUS_ENDPOINTS: JSON.stringify({ gcs, s3 }),
  AWS_ACCESS_KEY_ID: 'AKIABENCH',
  AWS_SECRET_ACCESS_KEY: 'of-nobody',
  AWS_REGION: 'eu-west-1',
  AWS_EC2_METADATA_DISABLED: 'true',
  ISTHMUS_LOG_LEVEL: 'warn',
  NODE_EXTRA_CA_CERTS: ca,
  AWS_CA_BUNDLE: ca,
  REQUESTS_CA_BUNDLE: ca,
});

/** The packaged pipeline, as a container runs it. */
export async function isthmus(folder: string, kind: 'lane' | 'https' = 'lane'): Promise<Contender> {
  const made = new Map<string, string>();
  const { version } = JSON.parse(
    spawnSync('node', ['-p', `JSON.stringify(require(${JSON.stringify(join(root, 'package.json'))}))`], {
      encoding: 'utf8',
    }).stdout,
  ) as { version: string };
  return {
    name: kind === 'lane' ? 'Isthmus' : 'Isthmus by node:https',
    version: `${version}, Node ${process.version}`,
    async command({ bucket, lanes }) {
      const name = `${bucket}-${lanes ?? 'auto'}`;
      const known = made.get(name);
      if (known !== undefined) return [process.execPath, known, 'run'];
      const pipeline = {
        name,
        compare: 'always',
        ...(lanes === undefined ? {} : { concurrency: lanes }),
        identities: { reader: { kind: 'anonymous' } },
        source: { use: 'gcs', with: { bucket, identity: 'reader' } },
        sink: { use: 's3', with: { bucket: 'sink', prefix: `isthmus/${bucket}/`, region: 'eu-west-1' } },
      };
      const place = join(folder, `${kind}-${name}`);
      mkdirSync(place);
      const { made: at, err } = await packageInto(place, JSON.stringify(pipeline), '--target', 'container');
      if (!existsSync(join(at, 'index.mjs'))) throw new Error(err);
      made.set(name, join(at, 'index.mjs'));
      return [process.execPath, join(at, 'index.mjs'), 'run'];
    },
    environment: (endpoints) => ({ ...common(endpoints), ISTHMUS_TRANSPORT: kind }),
  };
}

/** The obvious program, bundled as one would. */
export async function obvious(folder: string): Promise<Contender> {
  const outfile = join(folder, 'obvious.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'peers/obvious.mjs')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    banner: { js: "import{createRequire as __r}from'node:module';const require=__r(import.meta.url);" },
    logLevel: 'error',
  });
  return {
    name: 'Node.js, the obvious way',
    version: `@google-cloud/storage and lib-storage, Node ${process.version}`,
    isSlow: true,
    command: async ({ bucket, objects }) => [process.execPath, outfile, bucket, `obvious/${bucket}/`, String(objects)],
    environment: common,
  };
}

export function python(): Contender | undefined {
  const folder = join(root, '.compat/python-bench');
  const path = join(folder, 'bin/python');
  if (!existsSync(path)) {
    spawnSync('python3', ['-m', 'venv', folder]);
    const installed = spawnSync(join(folder, 'bin/pip'), ['install', '--quiet', ...PYTHON], { stdio: 'inherit' });
    if (installed.status !== 0) return undefined;
  }
  return {
    name: 'Python, by hand',
    version: PYTHON.join(', '),
    isSlow: true,
    command: async ({ bucket, objects }) => [
      path,
      join(import.meta.dirname, 'peers/by_hand.py'),
      bucket,
      `python/${bucket}/`,
      String(objects),
    ],
    environment: common,
  };
}

/** What is left out where rclone is tuned: it compares nothing after the copy, and sends large objects in one stream. */
const TUNED = ['--s3-no-head', '--ignore-checksum', '--s3-no-check-bucket', '--s3-upload-cutoff', '5G'];

async function rclone(path: string, folder: string): Promise<readonly Contender[]> {
  const version = /v[\d.]+\S*/.exec(spawnSync(path, ['version'], { encoding: 'utf8' }).stdout)?.[0] ?? '?';
  const config = join(folder, 'rclone.conf');
  await writeFile(config, '');
  const make = (name: string, flags: readonly string[], without?: string): Contender => ({
    name: `rclone ${version}${name}`,
    version,
    ...(without === undefined ? {} : { without }),
    command: async ({ bucket, lanes }) => [
      ...[path, 'copy', `src:${bucket}`, `dst:sink/rclone/${bucket}`, '--quiet'],
      ...flags,
      // The last one counts.
      ...(lanes === undefined ? [] : ['--transfers', String(lanes), '--checkers', '16']),
    ],
    environment: ({ gcs, s3, ca }) => ({
      SSL_CERT_FILE: ca,
      RCLONE_CONFIG: config,
      RCLONE_CONFIG_SRC_TYPE: 'google cloud storage',
      RCLONE_CONFIG_SRC_ANONYMOUS: 'true',
      RCLONE_CONFIG_SRC_ENDPOINT: `${gcs}/storage/v1/`,
      RCLONE_CONFIG_DST_TYPE: 's3',
      RCLONE_CONFIG_DST_PROVIDER: 'Other',
      RCLONE_CONFIG_DST_ENDPOINT: s3,
      RCLONE_CONFIG_DST_ACCESS_KEY_ID: 'AKIABENCH',
      RCLONE_CONFIG_DST_SECRET_ACCESS_KEY: 'of-nobody',
      RCLONE_CONFIG_DST_REGION: 'eu-west-1',
      RCLONE_CONFIG_DST_FORCE_PATH_STYLE: 'true',
    }),
  });
  return [make('', []), make(', tuned', ['--transfers', '16', ...TUNED], 'verification after the copy')];
}

/** Those that are here, or can be brought here. */
export async function rclones(folder: string): Promise<readonly Contender[]> {
  mkdirSync(peers, { recursive: true });
  const newest = join(peers, 'rclone');
  if (!existsSync(newest))
    spawnSync('go', ['install', RCLONE], { env: { ...process.env, GOBIN: peers }, stdio: 'inherit' });
  const debian = join(peers, 'debian/usr/bin/rclone');
  if (!existsSync(debian)) {
    spawnSync('sh', ['-c', 'apt-get download rclone && dpkg -x rclone_*.deb debian'], { cwd: peers, stdio: 'ignore' });
  }
  const found = [newest, debian].filter((path) => existsSync(path));
  return (await Promise.all(found.map((path) => rclone(path, folder)))).flat();
}
