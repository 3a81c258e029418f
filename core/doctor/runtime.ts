import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import { z } from 'zod';
import { systemErrorCode } from '../api/errors.ts';
import { formatDuration } from '../api/text.ts';
import type { ServerClock } from '../auth/clock.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { type Finding, found } from './finding.ts';

const REACH_MS = 5000;
/** AWS refuses a signature that is 15 minutes off; before that there is something to mend. */
const SKEW_WARN_MS = 60_000;

/** Base URLs that a pipeline talks to; without those that are only useful it may work all the same. */
export interface Hosts {
  readonly needed: readonly string[];
  readonly useful: readonly string[];
}

/** Step 0: the machine. */
export async function runtimeFindings(
  environment: Environment,
  { needed, useful }: Hosts,
  clock: ServerClock,
  signal: AbortSignal | undefined,
): Promise<readonly Finding[]> {
  const findings = [nodeVersion(process.versions.node), ...proxy(environment), ...debugging(environment)];
  findings.push(...(await libraryVersion()));
  if (signal === undefined) return findings;
  const reached = [
    ...needed.map((host) => reach(host, 'fail', clock, signal)),
    ...useful.filter((host) => !needed.includes(host)).map((host) => reach(host, 'warn', clock, signal)),
  ];
  findings.push(...(await Promise.all(reached)));
  return [...findings, ...skew(clock)];
}

function nodeVersion(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 12)) return found('runtime', 'pass', `Node.js ${version}`);
  return found('runtime', 'fail', `Node.js ${version} is too old`, { fix: 'Install Node.js 24, or 22.12 at least.' });
}

function proxy({ HTTPS_PROXY, https_proxy, NODE_USE_ENV_PROXY }: Environment): Finding[] {
  if (!HTTPS_PROXY && !https_proxy) return [];
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const able = major >= 24 || (major === 22 && minor >= 21);
  if (NODE_USE_ENV_PROXY === '1' && able) return [found('runtime', 'pass', 'HTTPS_PROXY is set and used')];
  if (!able) {
    const detail = `HTTPS_PROXY is set, but Node.js ${process.versions.node} cannot use it`;
    return [found('runtime', 'warn', detail, { fix: 'Install Node.js 24, and set NODE_USE_ENV_PROXY=1.' })];
  }
  const fix = 'Set NODE_USE_ENV_PROXY=1 if this machine reaches the internet through that proxy only.';
  return [found('runtime', 'warn', 'HTTPS_PROXY is set, but Node.js does not use it', { fix })];
}

/** Google's libraries print access tokens under this variable. */
function debugging({ GOOGLE_SDK_NODE_LOGGING }: Environment): Finding[] {
  if (!GOOGLE_SDK_NODE_LOGGING) return [];
  const detail = "GOOGLE_SDK_NODE_LOGGING is set: Google's libraries then print access tokens in clear";
  return [found('runtime', 'warn', detail, { fix: 'Unset GOOGLE_SDK_NODE_LOGGING.' })];
}

const packageJson = z.object({ version: z.string() });

/** Isthmus does not need google-auth-library; plugins that bring it should not bring a release that is broken on EC2. */
async function libraryVersion(): Promise<Finding[]> {
  try {
    const require = createRequire(join(process.cwd(), 'package.json'));
    const [folder = ''] = require.resolve('google-auth-library').split(/(?<=google-auth-library)[\\/]/);
    const { version } = packageJson.parse(JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')));
    if (!/^10\.[0-5]\.|^10\.6\.0$/.test(version)) return [found('runtime', 'pass', `google-auth-library ${version}`)];
    const detail = `google-auth-library ${version} signs with undefined keys on EC2`;
    return [found('runtime', 'warn', detail, { fix: 'npm install google-auth-library@^10.9' })];
  } catch {
    return [];
  }
}

/** DNS, TLS and proxy in one: any answer will do, and its `Date` tells the time. */
async function reach(
  base: string,
  otherwise: 'fail' | 'warn',
  clock: ServerClock,
  signal: AbortSignal,
): Promise<Finding> {
  const { host } = new URL(base);
  try {
    const sentAt = clock.local();
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(REACH_MS)]);
    const response = await fetch(base, { method: 'HEAD', redirect: 'manual', signal: deadline });
    clock.learn(response.headers.get('date'), sentAt);
    return found('runtime', 'pass', `${host} answers in ${formatDuration(clock.local() - sentAt)}`);
  } catch (error) {
    const why = systemErrorCode(error) ?? `no answer within ${REACH_MS / 1000} s`;
    const fix = `Let this machine reach ${host}:443 directly, or set HTTPS_PROXY with NODE_USE_ENV_PROXY=1.`;
    return found('runtime', otherwise, `${host}: ${why}`, { fix, id: 'network' });
  }
}

function skew({ offsetMs }: ServerClock): Finding[] {
  if (offsetMs === undefined) return [];
  if (Math.abs(offsetMs) < SKEW_WARN_MS) return [found('runtime', 'pass', 'the clock is right')];
  const off = `${formatDuration(Math.abs(offsetMs))} ${offsetMs > 0 ? 'behind' : 'ahead'}`;
  return [
    found('runtime', 'warn', `the clock of this machine is ${off}; signatures are corrected for it`, {
      fix: 'Set the clock: timedatectl set-ntp true',
    }),
  ];
}
