import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import type { Share } from '../engine/apply.ts';
import type { Environment } from '../pipeline/interpolate.ts';

/** What platforms call the place of a process among others, from 0. */
const INDEXES = ['AWS_BATCH_JOB_ARRAY_INDEX', 'JOB_COMPLETION_INDEX'] as const;
/** Only AWS Batch says how many there are. Source: https://docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html */
const SIZE = 'AWS_BATCH_JOB_ARRAY_SIZE';
const MOST = 100_000;

/**
 * Which part of a plan this process carries.
 *
 * @param text `3/8`: the fourth of eight; or `8`, where the platform says which.
 * @returns undefined for all of it.
 * @throws BrokerError `invalid_config`
 */
export function shareIn(text: string | undefined, environment: Environment): Share | undefined {
  const variable = INDEXES.find((name) => environment[name] !== undefined && environment[name] !== '');
  const told = variable === undefined ? undefined : environment[variable];
  const size = variable === INDEXES[0] ? environment[SIZE] : undefined;
  if (text === undefined && variable === undefined) return undefined;
  const [, first, , second] = /^(\d{1,6})(\/(\d{1,6}))?$/.exec(text ?? size ?? '') ?? [];
  if (first === undefined)
    throw text === undefined
      ? wrong(
          `${variable} says which part this is, and nothing says of how many`,
          'Say so: --shard 8, or --shard 0/1 for all of it.',
        )
      : wrong(`--shard ${text} is none`, 'Write the place, from 0, and the number: --shard 0/8.');
  const [index, of] = second === undefined ? [told, first] : [first, second];
  if (second === undefined && size !== undefined && size !== of)
    throw wrong(
      `--shard ${of}, and the array has ${size}: the others would be carried by nobody`,
      'Leave --shard out: AWS Batch says both.',
    );
  if (index !== undefined && !/^\d{1,6}$/.test(index))
    throw wrong(`${variable} is "${visible(index)}", and no number`, `Write --shard 0/${of}.`);
  if (index === undefined)
    throw wrong(
      `--shard ${text} does not say which of them`,
      `Write --shard 0/${of}; ${INDEXES.join(' and ')} say it where they are set.`,
    );
  if (Number(of) < 1 || Number(of) > MOST || Number(index) >= Number(of))
    throw wrong(`there is no part ${index} of ${of}`, `They are counted from 0, and there are at most ${MOST}.`);
  return Number(of) === 1 ? undefined : { index: Number(index), of: Number(of) };
}

const wrong = (message: string, hint: string): BrokerError => new BrokerError('invalid_config', message, { hint });
