import type { Transport } from '../api/transport.ts';
import { HttpsTransport, usesProxy } from './https.ts';
import { Lanes } from './lanes.ts';

/** `lane` writes and reads HTTP/1.1 itself; `https` goes by way of node:https. */
export type TransportKind = 'lane' | 'https';

/** Opens a transport; dispose it to close its connections. Through a proxy only node:https finds its way. */
export const openTransport = (kind: TransportKind = 'lane'): Transport =>
  kind === 'https' || usesProxy() ? new HttpsTransport() : new Lanes();
