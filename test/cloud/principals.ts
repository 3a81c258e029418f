import { randomBytes } from 'node:crypto';

/** Someone whom the local AWS knows. */
export interface AwsPrincipal {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly account: string;
  readonly arn: string;
  readonly userId: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
}

/** Every secret of the local cloud begins with this: whoever finds it in an output has found a leak. */
export const CANARY = 'cAnArY';

/** A random secret that can be searched for. */
export const secret = (bytes: number): string => CANARY + randomBytes(bytes).toString('base64');

export const LOCAL_ACCOUNT = '111122223333';

/** A session of an IAM role, as a Lambda has one. */
export function roleSession(roleName: string, sessionName: string, account = LOCAL_ACCOUNT): AwsPrincipal {
  return {
    accessKeyId: `ASIA${randomBytes(8).toString('hex').toUpperCase()}`,
    secretAccessKey: secret(30),
    sessionToken: secret(96),
    account,
    arn: `arn:aws:sts::${account}:assumed-role/${roleName}/${sessionName}`,
    userId: `AROA${randomBytes(8).toString('hex').toUpperCase()}:${sessionName}`,
  };
}

/** Whom a Google token belongs to and for what it is good. */
export interface GoogleToken {
  /** `principal://…` or the e-mail address of a service account. */
  readonly principal: string;
  readonly scopes: readonly string[];
  readonly expiresAt: number;
  /** Of a downscoped token: all that it is good for. */
  readonly within?: readonly { readonly bucket: string; readonly prefix: string; readonly exact?: true }[];
}

/** A new Google access token. */
export const googleTokenText = (kind: 'c' | 'd'): string =>
  `ya29.${kind}.${CANARY}${randomBytes(48).toString('base64url')}`;
