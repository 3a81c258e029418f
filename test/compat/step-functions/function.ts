import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { stringify } from 'yaml';
import { packageInto } from '../../package/packaged.ts';
import { temporaryFolder } from '../../support.ts';
import { type Emulator, startEmulator } from '../emulator.ts';
import type { Answer, LambdaError } from './engine.ts';

/** A packaged pipeline: its state machine, and its function in as many environments as are asked for at once. */
export interface Deployed extends AsyncDisposable {
  readonly definition: Definition;
  /** @param meanwhile is given the emulator while it works: it may kill it. */
  invoke(event: unknown, meanwhile?: (emulator: Emulator) => Promise<void>): Promise<Answer>;
  /** Environments that were started. */
  readonly environments: number;
}

export interface Definition {
  readonly States: Record<string, Record<string, unknown>>;
}

/** AWS's emulator, and the runtime client that it starts. */
export interface Programs {
  readonly emulator: string;
  readonly runtimeClient: string;
}

/** `isthmus package --distributed`, unpacked, under the Lambda Runtime Interface Emulator. */
export async function deploy(
  programs: Programs,
  data: unknown,
  environment: Readonly<Record<string, string>>,
  timeoutSeconds = 60,
): Promise<Deployed> {
  const folder = await temporaryFolder();
  const { code, err, made } = await packageInto(folder.path, stringify(data), '--distributed');
  if (code !== 0) throw new Error(err);
  const task = join(folder.path, 'task');
  await mkdir(task);
  for (const [name, bytes] of Object.entries(unzipSync(await readFile(join(made, 'function.zip')))))
    await writeFile(join(task, name), bytes);
  const text = (await readFile(join(made, 'state-machine.asl.json'), 'utf8'))
    .replaceAll('$\u007bPartition}', 'aws')
    .replaceAll('$\u007bFunctionArn}', 'arn:aws:lambda:eu-west-1:123456789012:function:isthmus');
  const idle: Emulator[] = [];
  const all = new Set<Emulator>();
  const start = async (): Promise<Emulator> => {
    const emulator = await startEmulator({ ...programs, folder: task, environment, timeoutSeconds });
    all.add(emulator);
    return emulator;
  };
  return {
    definition: quick(JSON.parse(text) as Definition),
    get environments() {
      return all.size;
    },
    async invoke(event, meanwhile) {
      const emulator = idle.pop() ?? (await start());
      const answering = emulator.invoke(event);
      await meanwhile?.(emulator);
      const { text: answer } = await answering;
      // As on Lambda, an environment whose process was killed is not used again.
      if (meanwhile === undefined) idle.push(emulator);
      const value = parsed(answer);
      return isError(value) ? { error: value } : { ok: value };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...all].map((emulator) => emulator[Symbol.asyncDispose]()));
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Of a process that was killed the emulator may answer with words of its own. */
function parsed(answer: string): unknown {
  try {
    return JSON.parse(answer);
  } catch {
    return { errorType: 'Runtime.ExitError', errorMessage: answer.slice(0, 500) };
  }
}

const isError = (value: unknown): value is LambdaError =>
  typeof value === 'object' && value !== null && 'errorType' in value && 'errorMessage' in value;

/** The same machine, but for the pauses before its retries: a test does not wait for half a minute. */
function quick(definition: Definition): Definition {
  return JSON.parse(
    JSON.stringify(definition, (name, value: unknown) =>
      name === 'IntervalSeconds' ? 1 : name === 'MaxDelaySeconds' ? 2 : name === 'BackoffRate' ? 1 : value,
    ),
  ) as Definition;
}
