import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import type { AuthRuntime } from '../auth/aws-identity.ts';
import { explain } from '../doctor/explain.ts';
import { doctorExit, type Finding, found } from '../doctor/finding.ts';
import { StepLog } from '../doctor/patient.ts';
import { lines, verdict } from '../doctor/render.ts';
import { examine } from '../doctor/walk.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { InvalidPipeline } from '../pipeline/problem.ts';
import type { JobFactory, OpenJob } from '../runtime/job.ts';
import { processRuntime } from '../runtime/process.ts';
import { EXIT, type Output, table } from './output.ts';
import { loggerFor } from './run.ts';

export interface DoctorFlags {
  readonly json?: boolean;
  readonly offline?: boolean;
  readonly explain?: string;
}

/** `isthmus doctor`: walks the keyless chain and says, for each step, what is so and what to do. */
export async function doctorCommand(
  file: string | undefined,
  flags: DoctorFlags,
  jobs: JobFactory,
  runtime: AuthRuntime,
  environment: Environment,
  output: Output,
): Promise<number> {
  if (flags.explain !== undefined) return explainCommand(flags.explain, flags.json === true, output);
  const log = loggerFor({}, output);
  using stopping = processRuntime(log);
  const signal = AbortSignal.any([stopping.signal, stopping.stop]);
  const steps = new StepLog();
  const opening = file === undefined ? undefined : jobs.open(file, { log, now: Date.now, onAuth: steps.observe });
  const mistakes = await opening?.then(() => undefined, mistakesOf);
  await using open = mistakes === undefined ? await opening : undefined;
  const json = flags.json === true;
  if (!json) output.out(heading(file, open));
  const tell = (finding: Finding): void => {
    if (!json) for (const line of lines(finding)) output.out(line);
  };
  for (const mistake of mistakes ?? []) tell(mistake);
  const offline = flags.offline === true;
  const examined = await examine({ environment, runtime, open, log: steps, offline, signal, tell });
  const findings = [...(mistakes ?? []), ...examined];
  const code = doctorExit(findings);
  if (json) output.out(JSON.stringify({ ...(open && { pipeline: open.pipeline.name }), exitCode: code, findings }));
  else for (const line of verdict(findings, code, offline)) output.out(line);
  return code;
}

/** A pipeline that is not valid is a finding like any other; the process is examined all the same. */
function mistakesOf(error: unknown): readonly Finding[] {
  if (!(error instanceof InvalidPipeline)) throw error;
  return error.problems.map(({ line, column, path, message }) => {
    const place = [error.file, line, column].filter((one) => one !== undefined).join(':');
    const fix = line === undefined ? 'Name a pipeline file that is there and holds a pipeline.' : 'Correct this line.';
    const detail = `${place}: ${path ? `${path}: ` : ''}${message}`;
    return found('config', 'fail', visible(detail), { id: 'invalid_config', fix });
  });
}

const heading = (file: string | undefined, open: OpenJob | undefined): string =>
  file === undefined
    ? 'isthmus doctor: this process (name a pipeline to examine it too)'
    : `isthmus doctor: ${visible(open?.pipeline.name ?? file)}`;

function explainCommand(text: string, json: boolean, output: Output): number {
  const found = explain(text);
  if (found === undefined) {
    throw new BrokerError('invalid_config', `nothing is known about "${visible(text.slice(0, 80))}"`, {
      hint: 'Give a code, an id, or the words of an error as they were printed.',
    });
  }
  if (json) output.out(JSON.stringify(found));
  else {
    const { id, title, cause, fix, step } = found;
    output.out(`${id}: ${title}`);
    const rows = [...(step === undefined ? [] : [['  step', step]]), ['  cause', cause], ['  fix', fix]];
    for (const line of table(rows)) output.out(line);
  }
  return EXIT.complete;
}
