import { BrokerError } from '../api/errors.ts';
import type { Transport } from '../api/transport.ts';
import { Lanes } from './lanes.ts';
import { LazyTransport, usesProxy } from './lazy.ts';

/** `lane` writes and reads HTTP/1.1 itself; `https` goes by way of node:https. */
export type TransportKind = 'lane' | 'https';

/** @param name as `ISTHMUS_TRANSPORT` has it. @throws BrokerError `invalid_config` */
export function transportKind(name = 'lane'): TransportKind {
  if (name === 'lane' || name === 'https') return name;
  throw new BrokerError('invalid_config', 'ISTHMUS_TRANSPORT is neither lane nor https', {
    hint: 'Unset it: lane is the default, and https what proxies need.',
  });
}

/** Opens a transport; dispose it to close its connections. Through a proxy only node:https finds its way. */
export const openTransport = (kind: TransportKind = 'lane'): Transport =>
  kind === 'https' || usesProxy()
    ? new LazyTransport(async () => new (await import('./https.ts')).HttpsTransport())
    : new Lanes();

/** What opens the transports of a process, as its environment wants them. @throws BrokerError `invalid_config` */
export function transportsFrom({
  ISTHMUS_TRANSPORT: name,
}: Readonly<Record<string, string | undefined>>): () => Transport {
  const kind = transportKind(name === '' ? undefined : name);
  return () => openTransport(kind);
}
