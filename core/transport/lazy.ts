import process from 'node:process';
import type { HttpRequest, HttpResponse, Traffic, Transport } from '../api/transport.ts';
import { stopped } from './failure.ts';

const NOTHING: Traffic = { throttled: 0 };

/** A transport that is made, and its modules loaded, with its first request. */
export class LazyTransport implements Transport {
  readonly #make: () => Promise<Transport>;
  #made: Promise<Transport> | undefined;
  #transport: Transport | undefined;
  #isClosed = false;

  constructor(make: () => Promise<Transport>) {
    this.#make = make;
  }

  get traffic(): Traffic {
    return this.#transport?.traffic ?? NOTHING;
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    this.#made ??= this.#make();
    this.#transport = await this.#made;
    if (this.#isClosed) this.#transport[Symbol.dispose]();
    if (this.#isClosed) throw stopped();
    return this.#transport.request(request);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#transport?.[Symbol.dispose]();
  }
}

/**
 * Whether the process was told to use proxies. Asked without loading node:https, which takes a tenth of a cold start.
 * Source: https://nodejs.org/api/cli.html#node_use_env_proxy1
 */
export const usesProxy = ({ env, execArgv } = process): boolean =>
  env.NODE_USE_ENV_PROXY === '1' ||
  execArgv.includes('--use-env-proxy') ||
  /(?:^|\s)--use-env-proxy(?:\s|$)/.test(env.NODE_OPTIONS ?? '');
