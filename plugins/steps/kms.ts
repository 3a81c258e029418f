import { hash } from 'node:crypto';
import {
  AwsSigner,
  BrokerError,
  backoffMs,
  type HttpResponse,
  type PluginContext,
  parseRetryAfter,
  pause,
  type RetryPolicy,
  type Transport,
  visible,
} from '../../core/api/index.ts';

/** A key for one item: as it is, and as only KMS can read it. */
export interface DataKey {
  readonly keyArn: string;
  readonly plaintext: Uint8Array;
  readonly encrypted: Uint8Array;
}

const RETRIES: RetryPolicy = { attempts: 5, baseDelayMs: 100, maxDelayMs: 20_000 };
const LONGEST = 64 * 1024;
const THROTTLED = /Throttling|LimitExceeded/;
const ENDED = /^ExpiredToken/;
const NOBODY =
  /^(ExpiredToken|UnrecognizedClient|InvalidSignature|IncompleteSignature|InvalidClientTokenId|MissingAuthenticationToken)/;

/**
 * Data keys of a key of AWS KMS, one request each.
 *
 * Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
 */
export class KmsDataKeys implements Disposable {
  readonly #keyArn: string;
  readonly #signer: AwsSigner;
  readonly #origin: string;
  readonly #context: PluginContext;
  readonly #identity: string | undefined;
  #transport: Transport | undefined;

  constructor(keyArn: string, identity: string | undefined, context: PluginContext) {
    const [, partition = 'aws', , region = ''] = keyArn.split(':');
    this.#keyArn = keyArn;
    this.#signer = new AwsSigner(region, 'kms');
    const domain = partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com';
    this.#origin = context.endpoints.kms ?? `https://kms.${region}.${domain}`;
    this.#context = context;
    this.#identity = identity;
  }

  /** @throws BrokerError `permission_denied`, `throttled`, `unavailable`, or of the transport. */
  async dataKey(encryptionContext: Readonly<Record<string, string>>, signal: AbortSignal): Promise<DataKey> {
    const asked = { KeyId: this.#keyArn, KeySpec: 'AES_256', EncryptionContext: encryptionContext };
    let fresh = false;
    for (let attempt = 1; ; attempt++) {
      const { status, headers, body } = await this.#send(JSON.stringify(asked), fresh, signal);
      const text = await textOf(body);
      if (status === 200) return this.#read(text);
      if (ENDED.test(wordsIn(text)[0]) && !fresh) {
        fresh = true;
        continue;
      }
      const error = failure(this.#keyArn, status, text, parseRetryAfter(headers['retry-after'], Date.now()));
      if (error.next !== 'retry' || attempt >= RETRIES.attempts) throw error;
      await pause(backoffMs(RETRIES, attempt, error.retryAfterMs), signal);
    }
  }

  async #send(text: string, fresh: boolean, signal: AbortSignal): Promise<HttpResponse> {
    const credentials = await this.#context.credentials
      .aws(this.#identity)
      .get({ signal, ...(fresh ? { fresh } : {}) });
    const body = Buffer.from(text);
    const headers: Record<string, string> = {
      host: new URL(this.#origin).host,
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': 'TrentService.GenerateDataKey',
    };
    const payloadHash = hash('sha256', body, 'hex');
    const parts = { method: 'POST', path: '/', query: '', headers, payloadHash };
    this.#signer.sign(parts, credentials, Date.now());
    this.#transport ??= this.#context.transport();
    return this.#transport.request({ method: 'POST', origin: this.#origin, path: '/', headers, body, signal });
  }

  #read(text: string): DataKey {
    const { KeyId, Plaintext, CiphertextBlob } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    if (KeyId !== this.#keyArn || typeof Plaintext !== 'string' || typeof CiphertextBlob !== 'string')
      throw new BrokerError('bad_response', 'KMS answered without a data key');
    return {
      keyArn: this.#keyArn,
      plaintext: new Uint8Array(Buffer.from(Plaintext, 'base64')),
      encrypted: new Uint8Array(Buffer.from(CiphertextBlob, 'base64')),
    };
  }

  [Symbol.dispose](): void {
    this.#transport?.[Symbol.dispose]();
  }
}

/** What the answer says of an error, and nothing of what was asked. */
function failure(keyArn: string, status: number, text: string, retryAfterMs: number | undefined): BrokerError {
  const [type, said] = wordsIn(text);
  const what = `kms:GenerateDataKey with ${keyArn}: HTTP ${status} ${type}: ${said}`;
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status >= 500) return new BrokerError('unavailable', what, options);
  if (status === 429 || THROTTLED.test(type)) return new BrokerError('throttled', what, options);
  if (NOBODY.test(type)) return new BrokerError('unauthenticated', what);
  if (type === 'AccessDeniedException' || status === 403)
    return new BrokerError('permission_denied', what, {
      hint: `Allow kms:GenerateDataKey on ${keyArn}, in the policy of the role and in that of the key.`,
    });
  return new BrokerError('invalid_request', what);
}

function wordsIn(text: string): readonly [type: string, message: string] {
  try {
    const { __type: type, message, Message } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const name = typeof type === 'string' ? type.slice(type.lastIndexOf('#') + 1) : 'unknown';
    return [visible(name), visible(String(message ?? Message ?? '').slice(0, 500))];
  } catch {
    return ['unknown', 'no JSON'];
  }
}

async function textOf(body: HttpResponse['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  await body.pump((chunk) => {
    bytes += chunk.byteLength;
    if (bytes > LONGEST) throw new BrokerError('bad_response', 'the answer of KMS is too long');
    chunks.push(Buffer.from(chunk));
    return undefined;
  });
  return Buffer.concat(chunks).toString('utf8');
}
