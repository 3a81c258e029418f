import type { IncomingMessage } from 'node:http';
import type { OidcIssuer } from './oidc.ts';
import { json, LocalServer, type Reply } from './server.ts';

/** Where Google publishes the keys of its ID tokens. */
export class LocalGoogleCerts extends LocalServer {
  readonly #issuer: OidcIssuer;

  constructor(issuer: OidcIssuer) {
    super();
    this.#issuer = issuer;
  }

  protected async answer(_: IncomingMessage, url: URL): Promise<Reply> {
    if (url.pathname !== '/oauth2/v3/certs') return json(404, {});
    return json(200, { keys: [this.#issuer.jwk()] });
  }
}
