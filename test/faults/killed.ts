import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { Seen } from '../cloud/faults.ts';
import type { World } from './world.ts';

const MAIN = fileURLToPath(new URL('../../config/main-cli.ts', import.meta.url));

export interface Ended {
  /** Null for a process that was killed. */
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/**
 * Runs the command line as a process of its own against the local cloud.
 *
 * @param killAt asked at each request: whether it is then that the process is killed (SIGKILL), before the request is
 *   carried out.
 */
export async function runProcess(
  w: World,
  args: readonly string[],
  killAt: (request: Seen) => boolean = () => false,
): Promise<Ended> {
  const env = { ...process.env, ...w.cloud.environment, ISTHMUS_LEASE: '0' };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let killed = false;
  const watch = (request: Seen): boolean => {
    if (!killed && killAt(request)) {
      killed = true;
      child.kill('SIGKILL');
    }
    // What the dead process has sent is not carried out any more.
    return killed;
  };
  const servers = [w.cloud.awsSts, w.cloud.googleSts, w.cloud.iamCredentials, w.cloud.gcs, w.cloud.s3];
  for (const server of servers) server.faults.add(watch, { kind: 'reset-before' }, Number.POSITIVE_INFINITY);
  const texts: [string, string] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    texts[0] += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    texts[1] += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  for (const server of servers) server.faults.clear();
  return { code, out: texts[0], err: texts[1] };
}
