import { BrokerError } from '../api/errors.ts';
import type { Environment } from '../pipeline/interpolate.ts';

/** A number of seconds in a variable, as milliseconds. @throws BrokerError `invalid_config` */
export function secondsIn(environment: Environment, name: string): number | undefined {
  const text = environment[name];
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,4}$/.test(text)) return Number(text) * 1000;
  throw new BrokerError('invalid_config', `${name} must be a number of seconds`, { hint: `Correct or unset ${name}.` });
}
