import { constants } from 'node:crypto';
import { connect as connectPlain } from 'node:net';
import { type ConnectionOptions, connect as connectSecure, createSecureContext, type SecureContext } from 'node:tls';
import { BrokerError, throwIfAborted } from '../api/errors.ts';
import type { HttpRequest, HttpResponse, Transport } from '../api/transport.ts';
import { Aborts } from './aborts.ts';
import { stopped } from './failure.ts';
import { isName } from './head.ts';
import { type Connect, Lane } from './lane.ts';
import { Watch } from './watch.ts';

/** S3 closes idle connections after 5 to 20 seconds; one that is closing looks open until it is used. */
const LONGEST_REST_MS = 4000;

interface Origin {
  readonly host: string;
  readonly connect: Connect;
  readonly idle: { readonly lane: Lane; readonly since: number }[];
}

export interface LanesOptions {
  /** Milliseconds; for how long a connection rests. */
  readonly now?: () => number;
  /** For servers of tests: PEM. */
  readonly ca?: string;
}

/**
 * The fast transport: sockets, memory that is used again, HTTP/1.1 read and written here. It knows no proxies.
 */
export class Lanes implements Transport {
  readonly traffic = { throttled: 0 };
  readonly #origins = new Map<string, Origin>();
  readonly #lanes = new Set<Lane>();
  readonly #watch = new Watch();
  readonly #aborts = new Aborts();
  readonly #now: () => number;
  readonly #ca: string | undefined;
  #secure: SecureContext | undefined;
  #isClosed = false;

  constructor({ now = Date.now, ca }: LanesOptions = {}) {
    this.#now = now;
    this.#ca = ca;
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    throwIfAborted(request.signal);
    if (this.#isClosed) throw stopped();
    const origin = this.#origins.get(request.origin) ?? this.#add(request.origin);
    const head = headOf(request, origin.host);
    const rested = this.#rested(origin);
    if (rested === undefined) return this.#send(this.#open(origin), request, head);
    try {
      return await this.#send(rested, request, head);
    } catch (error) {
      // It was closed while it rested, most probably: what only reads is sent again, whoever writes must know of it.
      const isStale = (error as BrokerError).code === 'network' && !rested.hasBegun && !request.signal.aborted;
      if (!isStale || this.#isClosed || (request.method !== 'GET' && request.method !== 'HEAD')) throw error;
      return this.#send(this.#open(origin), request, head);
    }
  }

  #send(lane: Lane, request: HttpRequest, head: string): Promise<HttpResponse> {
    this.#aborts.add(request.signal, lane);
    const answer = lane.exchange(request, head);
    // How long it may be silent, the request says.
    if (lane.closed === undefined) this.#watch.add(lane);
    return answer;
  }

  #rested(origin: Origin): Lane | undefined {
    for (let one = origin.idle.pop(); one !== undefined; one = origin.idle.pop()) {
      const { lane, since } = one;
      if (lane.closed !== undefined) continue;
      if (this.#now() - since <= LONGEST_REST_MS) {
        lane.hold(true);
        return lane;
      }
      lane.destroy(stopped());
    }
    return undefined;
  }

  #open({ host, connect, idle }: Origin): Lane {
    const lane: Lane = new Lane(host, connect, {
      idle: () => {
        this.#watch.remove(lane);
        this.#aborts.remove(lane);
        if (lane.closed === undefined) this.#rest(lane, idle);
        else {
          this.#lanes.delete(lane);
          const at = idle.findIndex((one) => one.lane === lane);
          if (at >= 0) idle.splice(at, 1);
        }
      },
      throttled: () => {
        this.traffic.throttled++;
      },
    });
    this.#lanes.add(lane);
    return lane;
  }

  #rest(lane: Lane, idle: Origin['idle']): void {
    lane.hold(false);
    const now = this.#now();
    idle.push({ lane, since: now });
    // The one that has rested longest: many were needed once, and few are now.
    const [oldest] = idle;
    if (oldest !== undefined && now - oldest.since > LONGEST_REST_MS) oldest.lane.destroy(stopped());
  }

  #add(base: string): Origin {
    const url = new URL(base);
    const origin: Origin = { host: url.host, connect: this.#connectTo(url), idle: [] };
    this.#origins.set(base, origin);
    return origin;
  }

  #connectTo({ protocol, hostname, port }: URL): Connect {
    const host = hostname.replace(/^\[|\]$/g, '');
    const isSecure = protocol === 'https:';
    const address = { host, port: Number(port || (isSecure ? 443 : 80)), noDelay: true };
    if (!isSecure) return (onread) => connectPlain({ ...address, onread: onread as never });
    let session: Buffer | undefined;
    return (onread) => {
      // One for all: each of its own would read every certificate authority again.
      this.#secure ??= createSecureContext({
        secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
        ...(this.#ca === undefined ? {} : { ca: this.#ca }),
      });
      const options: ConnectionOptions & { readonly onread: typeof onread; readonly noDelay: boolean } = {
        ...address,
        onread,
        secureContext: this.#secure,
        ALPNProtocols: ['http/1.1'],
        ...(isIp(host) ? {} : { servername: host }),
        ...(session === undefined ? {} : { session }),
      };
      const socket = connectSecure(options);
      socket.on('session', (ticket) => {
        session = ticket;
      });
      // A server that does not want to know it any more must not be shown it for ever.
      socket.on('error', () => {
        session = undefined;
      });
      return socket;
    };
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const lane of this.#lanes) lane.destroy(stopped());
    this.#watch[Symbol.dispose]();
    this.#aborts[Symbol.dispose]();
  }
}

const isIp = (host: string): boolean => /^[\d.]+$/.test(host) || host.includes(':');

/** What the wire cannot carry, or what would end a line: a character above 255 would lose its upper half. */
const FORBIDDEN = /[^\t\x20-\x7e\x80-\xff]/;
const NO_PATH = /[^\x21-\x7e]/;

/** The head of a request as it is sent. What would end a line is refused: it could hide a second request. */
function headOf({ method, path, headers, body }: HttpRequest, host: string): string {
  let head = `${method} ${path} HTTP/1.1\r\n`;
  if (headers.host === undefined) head += `host: ${host}\r\n`;
  let isForbidden = NO_PATH.test(path) || !isName(method);
  for (const name in headers) {
    const value = headers[name] ?? '';
    isForbidden ||= FORBIDDEN.test(value) || !isName(name);
    head += `${name}: ${value}\r\n`;
  }
  if (body !== undefined) head += `content-length: ${'send' in body ? body.size : body.byteLength}\r\n`;
  else if (method !== 'GET' && method !== 'HEAD' && method !== 'DELETE') head += 'content-length: 0\r\n';
  if (isForbidden) throw new BrokerError('invalid_request', `${host}: a header or path holds what no request may hold`);
  return `${head}\r\n`;
}
