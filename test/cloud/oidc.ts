import { createPublicKey, generateKeyPairSync, type KeyObject, randomUUID, sign, verify } from 'node:crypto';

/** One key for every issuer of a process: making one takes longer than most tests. */
let shared: KeyObject | undefined;
const key = (): KeyObject => {
  shared ??= generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  return shared;
};

export type Claims = Readonly<Record<string, unknown>>;

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const read = (text: string | undefined): Claims =>
  JSON.parse(Buffer.from(text ?? '', 'base64url').toString()) as Claims;

/** Signs JSON Web Tokens (RS256) as a cluster, AWS or Google does, and verifies its own. */
export class OidcIssuer {
  readonly issuer: string;
  readonly #kid = randomUUID();
  readonly #now: () => number;
  /** False: as an issuer whose keys cannot be fetched. */
  reachable = true;

  constructor(issuer: string, now: () => number) {
    this.issuer = issuer;
    this.#now = now;
  }

  token(claims: Claims, lifetimeSeconds = 3600): string {
    const now = Math.floor(this.#now() / 1000);
    const header = part({ alg: 'RS256', typ: 'JWT', kid: this.#kid });
    const payload = part({ iss: this.issuer, iat: now, exp: now + lifetimeSeconds, jti: randomUUID(), ...claims });
    const signature = sign('RSA-SHA256', Buffer.from(`${header}.${payload}`), key()).toString('base64url');
    return `${header}.${payload}.${signature}`;
  }

  /** Its public key, as issuers publish it. */
  jwk(): object {
    return { ...createPublicKey(key()).export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: this.#kid };
  }

  /** The claims of a token of this issuer, or why it is none. */
  verify(
    token: string,
  ): { readonly claims: Claims } | { readonly fault: 'format' | 'issuer' | 'signature' | 'expired' } {
    const [header, payload, signature, rest] = token.split('.');
    try {
      if (rest !== undefined || read(header).alg !== 'RS256') return { fault: 'format' };
      const claims = read(payload);
      if (claims.iss !== this.issuer || read(header).kid !== this.#kid) return { fault: 'issuer' };
      const signed = Buffer.from(`${header}.${payload}`);
      if (!verify('RSA-SHA256', signed, createPublicKey(key()), Buffer.from(signature ?? '', 'base64url')))
        return { fault: 'signature' };
      return Number(claims.exp) * 1000 <= this.#now() ? { fault: 'expired' } : { claims };
    } catch {
      return { fault: 'format' };
    }
  }
}
