import { BrokerError, systemErrorCode } from '../api/errors.ts';

/** What a broken connection means; nothing of the request is in it. */
export function connectionError(host: string, error: unknown): BrokerError {
  if (error instanceof BrokerError) return error;
  if (error instanceof Error && error.name === 'AbortError') return stopped();
  const code = systemErrorCode(error);
  if (code === 'EMFILE' || code === 'ENFILE') return new BrokerError('machine_limit', `${host}: ${code}`);
  return new BrokerError('network', `${host}: ${code ?? 'the connection failed'}`);
}

export const stopped = (): BrokerError => new BrokerError('stopped', 'the run was stopped');

/** The body ended before its size. */
export const tooShort = (host: string, sent: number, size: number): BrokerError =>
  new BrokerError('truncated', `${host}: ${sent} of the ${size} bytes announced were given to be sent`);

export const tooLong = (host: string, size: number): BrokerError =>
  new BrokerError('too_long', `${host}: more than the ${size} bytes announced were given to be sent`);

/** Thrown to whoever still sends: the server has answered. */
export class Answered extends Error {
  override readonly name = 'Answered';
}
