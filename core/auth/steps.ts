/** One step of the keyless chain, as it happened. Holds no secret: who, where and how long, never the token. */
export interface AuthStep {
  readonly step: 'aws-credentials' | 'aws-identity' | 'subject-token' | 'google-sts' | 'impersonation' | 'assume-role';
  readonly detail: string;
}

export type AuthObserver = (step: AuthStep) => void;

/** Base URLs of the token services. Only whoever starts the process can change them, a pipeline cannot. */
export interface AuthEndpoints {
  readonly googleSts: string;
  readonly iamCredentials: string;
  /** `undefined`: the regional host of AWS. */
  readonly awsSts: string | undefined;
}

export const PUBLIC_AUTH_ENDPOINTS: AuthEndpoints = {
  googleSts: 'https://sts.googleapis.com',
  iamCredentials: 'https://iamcredentials.googleapis.com',
  awsSts: undefined,
};
