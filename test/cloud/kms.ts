import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { AwsPrincipal } from './principals.ts';
import { LocalServer, type Reply, readBody } from './server.ts';
import { SignatureRefused, verifySignature } from './sigv4-verifier.ts';

/**
 * AWS KMS: GenerateDataKey and Decrypt, for symmetric keys. What it encrypts is bound to the encryption context, as the
 * real one binds it. Source: https://docs.aws.amazon.com/kms/latest/APIReference/Welcome.html
 */
export class LocalKms extends LocalServer {
  /** Keys that there are, by ARN, with the ARNs of the roles that may use them; none: every role. */
  readonly keys = new Map<string, readonly string[]>();
  /** Which operations were asked for. */
  readonly asked: string[] = [];
  readonly #principals: ReadonlyMap<string, AwsPrincipal>;
  readonly #now: () => number;
  readonly #secrets = new Map<string, Buffer>();

  constructor(principals: ReadonlyMap<string, AwsPrincipal>, now: () => number) {
    super(now);
    this.#principals = principals;
    this.#now = now;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const body = await readBody(request);
    const headers = request.headers as Record<string, string>;
    const payloadHash = createHash('sha256').update(body).digest('hex');
    const operation = String(headers['x-amz-target']).replace('TrentService.', '');
    this.asked.push(operation);
    try {
      const { principal } = verifySignature(
        { method: request.method ?? '', path: url.pathname, query: url.searchParams, headers, payloadHash },
        'kms',
        this.#principals,
        this.#now(),
      );
      const asked = JSON.parse(body.toString()) as Asked;
      if (operation === 'GenerateDataKey') return this.#generate(asked, principal);
      if (operation === 'Decrypt') return this.#decrypt(asked, principal);
      return failure('UnknownOperationException', operation);
    } catch (error) {
      if (!(error instanceof SignatureRefused)) throw error;
      return failure('InvalidSignatureException', error.message);
    }
  }

  #generate({ KeyId = '', EncryptionContext = {} }: Asked, principal: AwsPrincipal): Reply {
    const refused = this.#refusal(KeyId, principal, 'kms:GenerateDataKey');
    if (refused !== undefined) return refused;
    const key = randomBytes(32);
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#secret(KeyId), iv);
    cipher.setAAD(aad(EncryptionContext));
    const sealed = Buffer.concat([iv, cipher.update(key), cipher.final(), cipher.getAuthTag()]);
    const blob = Buffer.concat([Buffer.from([KeyId.length]), Buffer.from(KeyId), sealed]);
    return json({ KeyId, Plaintext: key.toString('base64'), CiphertextBlob: blob.toString('base64') });
  }

  #decrypt({ CiphertextBlob = '', EncryptionContext = {} }: Asked, principal: AwsPrincipal): Reply {
    const blob = Buffer.from(CiphertextBlob, 'base64');
    const end = 1 + (blob[0] ?? 0);
    const keyId = blob.subarray(1, end).toString();
    const refused = this.#refusal(keyId, principal, 'kms:Decrypt');
    if (refused !== undefined) return refused;
    const decipher = createDecipheriv('aes-256-gcm', this.#secret(keyId), blob.subarray(end, end + 12));
    decipher.setAAD(aad(EncryptionContext));
    decipher.setAuthTag(blob.subarray(-16));
    try {
      const key = Buffer.concat([decipher.update(blob.subarray(end + 12, -16)), decipher.final()]);
      return json({ KeyId: keyId, Plaintext: key.toString('base64'), EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' });
    } catch {
      return failure('InvalidCiphertextException', 'InvalidCiphertext');
    }
  }

  #refusal(keyId: string, { arn }: AwsPrincipal, action: string): Reply | undefined {
    const allowed = this.keys.get(keyId);
    if (allowed === undefined) return failure('NotFoundException', `Key '${keyId}' does not exist`);
    if (allowed.length === 0 || allowed.includes(arn)) return undefined;
    return failure('AccessDeniedException', `User: ${arn} is not authorized to perform: ${action} on: ${keyId}`);
  }

  #secret(keyId: string): Buffer {
    const known = this.#secrets.get(keyId) ?? randomBytes(32);
    this.#secrets.set(keyId, known);
    return known;
  }
}

interface Asked {
  readonly KeyId?: string;
  readonly CiphertextBlob?: string;
  readonly EncryptionContext?: Readonly<Record<string, string>>;
}

const aad = (context: Readonly<Record<string, string>>): Buffer =>
  Buffer.from(JSON.stringify(Object.entries(context).sort()));

const headers = { 'content-type': 'application/x-amz-json-1.1' };
const json = (value: object): Reply => ({ status: 200, headers, body: JSON.stringify(value) });
const failure = (type: string, message: string): Reply => ({
  status: 400,
  headers,
  body: JSON.stringify({ __type: type, message }),
});
