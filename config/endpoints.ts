import { BrokerError, type Endpoints, isLoopback } from '../core/api/index.ts';
import { type AuthEndpoints, PUBLIC_AUTH_ENDPOINTS } from '../core/auth/steps.ts';
import type { Environment } from '../core/pipeline/interpolate.ts';
import { GOOGLE_CERTS } from '../core/runtime/oidc.ts';

const NAMES = [
  'googleSts',
  'iamCredentials',
  'googleMetadata',
  'awsSts',
  'gcs',
  'bigquery',
  'vertexai',
  's3',
  'kms',
  'googleCerts',
  'lambda',
  'stepFunctions',
] as const;

/** What only the runtimes for events need. */
export interface EventEndpoints {
  /** The keys of Google's ID tokens. */
  readonly googleCerts: string;
  /** `undefined`: that of the region. */
  readonly lambda: string | undefined;
  readonly stepFunctions: string | undefined;
}

/**
 * The base URLs of the clouds. `ISTHMUS_ENDPOINTS`, a JSON object, points a process at a local cloud; only addresses
 * of this machine are accepted, since credentials go there.
 */
export function endpointsFrom(environment: Environment): Endpoints & AuthEndpoints & EventEndpoints {
  const { gcs, bigquery, vertexai, s3, kms, googleCerts, lambda, stepFunctions, ...auth } = localEndpoints(
    environment.ISTHMUS_ENDPOINTS,
  );
  return {
    ...PUBLIC_AUTH_ENDPOINTS,
    ...auth,
    gcs: (universeDomain) => gcs ?? `https://storage.${universeDomain}`,
    bigquery: (universeDomain) => bigquery ?? `https://bigquery.${universeDomain}`,
    vertexai: (universeDomain, location) => vertexai ?? vertexaiHost(universeDomain, location),
    s3: s3 ?? (environment.AWS_ENDPOINT_URL_S3 || environment.AWS_ENDPOINT_URL || undefined),
    s3Host: s3HostOf(environment),
    kms: kms ?? (environment.AWS_ENDPOINT_URL_KMS || environment.AWS_ENDPOINT_URL || undefined),
    googleCerts: googleCerts === undefined ? GOOGLE_CERTS : `${googleCerts}/oauth2/v3/certs`,
    lambda,
    stepFunctions,
  };
}

/** Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html */
function s3HostOf(environment: Environment): string | undefined {
  const isOn = (name: string): boolean => environment[name]?.toLowerCase() === 'true';
  const [fips, dual] = [isOn('AWS_USE_FIPS_ENDPOINT'), isOn('AWS_USE_DUALSTACK_ENDPOINT')];
  return fips || dual ? `s3${fips ? '-fips' : ''}${dual ? '.dualstack' : ''}` : undefined;
}

/** Source: https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations */
function vertexaiHost(universeDomain: string, location: string): string {
  if (location === 'global') return `https://aiplatform.${universeDomain}`;
  // Two of several regions have hosts of another form.
  if (location === 'us' || location === 'eu') return `https://aiplatform.${location}.rep.${universeDomain}`;
  return `https://${location}-aiplatform.${universeDomain}`;
}

function localEndpoints(text: string | undefined): Partial<Record<(typeof NAMES)[number], string>> {
  if (text === undefined || text === '') return {};
  const given = readObject(text);
  const local = NAMES.filter((name) => name in given).map((name) => {
    const url = URL.parse(String(given[name]));
    if (url === null || !isLoopback(url.hostname)) {
      throw new BrokerError('invalid_config', `ISTHMUS_ENDPOINTS: ${name} is not an address of this machine`, {
        hint: 'ISTHMUS_ENDPOINTS is for the local cloud only; unset it.',
      });
    }
    return [name, url.origin];
  });
  return Object.fromEntries(local);
}

function readObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Told below, with what it is not.
  }
  throw new BrokerError('invalid_config', 'ISTHMUS_ENDPOINTS is not a JSON object', { hint: 'Unset it.' });
}
