/** The steps of the keyless chain, in order, each as `doctor` walks it. */
export const STEPS = [
  'runtime',
  'config',
  'aws-source',
  'aws-identity',
  'subject-token',
  'google-sts',
  'impersonation',
  'downscoping',
  'google-identity',
  'google-to-aws',
  'source',
  'sink',
  'state',
] as const;

export type StepName = (typeof STEPS)[number];

/** One step, as it happened. Holds no secret: who, where and how long, never the token. */
export interface AuthStep {
  readonly step: StepName;
  readonly detail: string;
}

export type AuthObserver = (step: AuthStep) => void;

/** Base URLs of the token services. Only whoever starts the process can change them, a pipeline cannot. */
export interface AuthEndpoints {
  /** `undefined`: the host of the identity's universe and location. */
  readonly googleSts: string | undefined;
  /** `undefined`: the host of the identity's universe. */
  readonly iamCredentials: string | undefined;
  readonly googleMetadata: string;
  /** `undefined`: the regional host of AWS. */
  readonly awsSts: string | undefined;
}

export const PUBLIC_AUTH_ENDPOINTS: AuthEndpoints = {
  googleSts: undefined,
  iamCredentials: undefined,
  googleMetadata: 'http://metadata.google.internal',
  awsSts: undefined,
};
