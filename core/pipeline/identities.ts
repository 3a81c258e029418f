import { z } from 'zod';
import { BrokerError } from '../api/errors.ts';
import { type IdentitySpec, identitySpec } from './identity-spec.ts';
import type { Environment } from './interpolate.ts';

type References = Readonly<Record<string, { readonly kind: string }>>;

/** The first identity on the way from this one that stands on itself; undefined when none does. */
export function isCircle(identities: References, first: string): boolean {
  const seen = new Set<string>();
  let name: unknown = first;
  while (typeof name === 'string' && Object.hasOwn(identities, name)) {
    if (seen.has(name)) return name === first;
    seen.add(name);
    const { aws, google } = identities[name] as { readonly aws?: unknown; readonly google?: unknown };
    name = google ?? aws;
  }
  return false;
}

/** What whoever runs the process does not let an identity do; the file that names it cannot decide about it. */
export function refusedByOperator(
  identity: object,
  { ISTHMUS_UNIVERSE_DOMAINS = '', ISTHMUS_SERVICE_ACCOUNTS = '' }: Environment,
): readonly { readonly key: string; readonly message: string }[] {
  const {
    universeDomain,
    serviceAccount,
    delegates = [],
  } = identity as Partial<Extract<IdentitySpec, { kind: 'gcp' }>>;
  const refused: { key: string; message: string }[] = [];
  const refuse = (key: string, variable: string): void => {
    refused.push({ key, message: `is not allowed here: whoever runs the process lists it in ${variable}` });
  };
  // Tokens go to hosts of this domain.
  const domains = ['googleapis.com', ...listed(ISTHMUS_UNIVERSE_DOMAINS)];
  if (typeof universeDomain === 'string' && !domains.includes(universeDomain))
    refuse('universeDomain', 'ISTHMUS_UNIVERSE_DOMAINS');
  // Where many write pipelines, none of them should choose any account that trusts the process.
  const accounts = listed(ISTHMUS_SERVICE_ACCOUNTS);
  const allowed = (email: string): boolean =>
    accounts.some((one) => email === one || (one.startsWith('*@') && email.endsWith(one.slice(1))));
  for (const [key, emails] of [
    ['serviceAccount', [serviceAccount]],
    ['delegates', delegates],
  ] as const) {
    const wrong = [...emails].some((email) => typeof email === 'string' && !allowed(email));
    if (accounts.length > 0 && wrong) refuse(key, 'ISTHMUS_SERVICE_ACCOUNTS');
  }
  return refused;
}

const listed = (text: string): string[] =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');

/** Identities that come from code, not from a file with lines. @throws BrokerError with every mistake. */
export function identitiesIn(
  written: Readonly<Record<string, unknown>>,
  environment: Environment,
): Readonly<Record<string, IdentitySpec>> {
  const parsed = z.record(z.string(), identitySpec).safeParse(written);
  const faults = parsed.success
    ? Object.keys(parsed.data).flatMap((name) => faultsOf(name, parsed.data, environment))
    : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  if (!parsed.success || faults.length > 0)
    throw new BrokerError('invalid_config', `identities: ${faults.join('; ')}`, { hint: 'Correct what is named.' });
  return parsed.data;
}

function faultsOf(name: string, all: Readonly<Record<string, IdentitySpec>>, environment: Environment): string[] {
  const identity = all[name] ?? {};
  const { aws, google } = identity as { readonly aws?: string; readonly google?: string };
  const missing = (other: string | undefined, kind: string): string[] =>
    other === undefined || (Object.hasOwn(all, other) && all[other]?.kind === kind)
      ? []
      : [`${name}: there is no identity "${other}" of kind ${kind}`];
  return [
    ...missing(aws, 'aws'),
    ...missing(google, 'gcp'),
    ...(isCircle(all, name) ? [`${name}: refers to itself in a circle`] : []),
    ...refusedByOperator(identity, environment).map(({ key, message }) => `${name}.${key}: ${message}`),
  ];
}
