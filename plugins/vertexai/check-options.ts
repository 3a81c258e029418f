import type { OptionProblem } from '../../core/api/index.ts';
import type { BatchConfig, GenerateConfig, VertexConfig } from './config.ts';
import { schemaProblem } from './generate.ts';
import { membersOf } from './template.ts';

/** What single options do not show. */
export function* optionProblems(config: VertexConfig): Generator<OptionProblem> {
  const { batch, predict, generate, resource } = config;
  const modes = Object.entries({ batch, predict, generate, resource }).filter(([, one]) => one !== undefined);
  if (modes.length !== 1) {
    const given =
      modes.length === 0 ? 'nothing is asked for' : `${modes.map(([name]) => name).join(' and ')} are given`;
    yield { path: [], message: `${given}. Give exactly one of batch, predict, generate and resource.` };
  }
  if (batch !== undefined) yield* batchProblems(batch);
  if (predict?.raw === true && predict.parameters !== undefined)
    yield {
      path: ['predict', 'parameters'],
      message: 'parameters are no part of a raw request. Put them into the rows.',
    };
  if (generate !== undefined) yield* generateProblems(generate);
  if (resource?.export !== undefined && !/\/models\//.test(resource.name))
    yield { path: ['resource', 'export'], message: 'only models are exported. Leave resource.export out.' };
}

function* generateProblems(generate: GenerateConfig): Generator<OptionProblem> {
  const { rows, files, prompt, rowsPerFile, key, maxFailedRatio, onlyNew, modelArmor, safety, schema } = generate;
  const path = ['generate'];
  if ((rows === undefined) === (files === undefined))
    yield { path, message: 'generate asks for rows or for files. Give exactly one of rows and files.' };
  if (files !== undefined) {
    for (const [name, value] of Object.entries({ rowsPerFile, key, maxFailedRatio }))
      if (value !== undefined)
        yield { path: [...path, name], message: `${name} is about rows. Leave it out, or ask for rows.` };
    const other = membersOf(prompt).find((member) => member !== 'file' && member !== 'row');
    if (other !== undefined)
      yield {
        path: [...path, 'prompt'],
        message: `of a file only {{file}} is known, not {{${other}}}. Correct the prompt.`,
      };
  }
  if (files === undefined && onlyNew)
    yield { path: [...path, 'onlyNew'], message: 'onlyNew is about files. Leave it out, or ask for files.' };
  if (modelArmor !== undefined && safety !== undefined)
    yield { path: [...path, 'safety'], message: 'modelArmor and safety exclude each other. Leave one of both out.' };
  const wrong = schemaProblem(schema);
  if (wrong !== undefined) yield { path: [...path, 'schema'], message: wrong };
}

function* batchProblems({
  job,
  filter,
  model,
  input,
  output,
  join,
  format,
  timeout,
}: BatchConfig): Generator<OptionProblem> {
  const path = ['batch'];
  const named = [job, filter, model].filter((one) => one !== undefined).length;
  if (named !== 1)
    yield {
      path,
      message: `${named} of job, filter and model are given in batch. Adopt a job by job or filter, or create one with model.`,
    };
  if (model !== undefined && (input === undefined || output === undefined))
    yield { path: [...path, 'model'], message: 'a new job needs input and output. Set batch.input and batch.output.' };
  if (model === undefined && output !== undefined)
    yield { path: [...path, 'output'], message: 'output belongs to a new job. Leave batch.output out.' };
  if (model === undefined && timeout !== undefined)
    yield { path: [...path, 'timeout'], message: 'only a new job is cancelled. Leave batch.timeout out.' };
  if (join === undefined) return;
  if (input === undefined || !('gcs' in input) || input.format !== 'jsonl' || format !== 'jsonl')
    yield {
      path: [...path, 'join'],
      message: 'join reads JSON lines in Cloud Storage. Set batch.input: { gcs: [gs://…] }, both formats jsonl.',
    };
}
