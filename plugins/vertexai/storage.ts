import { BrokerError, type CredentialProvider, type GcpAccessToken, type PluginContext } from '../../core/api/index.ts';
import { GoogleClient } from '../google/http.ts';
import { Staging } from '../google/storage/staging.ts';

/** Folders of Cloud Storage by their URLs, whatever the bucket. */
export class Storage {
  readonly #identity: string;
  readonly #client: GoogleClient;

  constructor(
    identity: string,
    token: CredentialProvider<GcpAccessToken> | undefined,
    { endpoints, credentials, now, transport }: PluginContext,
  ) {
    this.#identity = identity;
    this.#client = new GoogleClient({
      endpoint: endpoints.gcs(credentials.universeDomain(identity)),
      token,
      now,
      transport: transport(),
    });
  }

  get client(): GoogleClient {
    return this.#client;
  }

  /** @param url `gs://bucket/prefix`. @throws BrokerError `invalid_config` for any other. */
  at(url: string): Staging {
    const { bucket, name } = parseGs(url);
    return new Staging(this.#client, { bucket, prefix: name, identity: this.#identity });
  }

  get identity(): string {
    return this.#identity;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

export function parseGs(url: string): { readonly bucket: string; readonly name: string } {
  const found = /^gs:\/\/([^/]+)\/(.*)$/s.exec(url) ?? /^gs:\/\/([^/]+)()$/.exec(url);
  if (found === null)
    throw new BrokerError('invalid_config', `${url} is not in Cloud Storage`, {
      hint: 'Only what lies in gs:// can be carried.',
    });
  return { bucket: found[1] ?? '', name: found[2] ?? '' };
}

/** With one slash at its end: what is below a folder, and not beside it. */
export const folderUrl = (url: string): string => `${url.replace(/\/+$/, '')}/`;
