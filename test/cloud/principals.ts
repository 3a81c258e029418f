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

export const LOCAL_ACCOUNT = '111122223333';

/** A session of an IAM role, as a Lambda has one. */
export function roleSession(roleName: string, sessionName: string, account = LOCAL_ACCOUNT): AwsPrincipal {
  return {
    accessKeyId: `ASIA${randomBytes(8).toString('hex').toUpperCase()}`,
    secretAccessKey: randomBytes(30).toString('base64'),
    sessionToken: randomBytes(96).toString('base64'),
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
}
