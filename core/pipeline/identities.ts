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

/** Tokens go to hosts of this domain, so the operator of the process decides about it, not the file. */
export function isAllowedUniverse(domain: string, { ISTHMUS_UNIVERSE_DOMAINS = '' }: Environment): boolean {
  return ['googleapis.com', ...ISTHMUS_UNIVERSE_DOMAINS.split(',').map((one) => one.trim())].includes(domain);
}

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
  const { aws, google, universeDomain } = {
    aws: undefined,
    google: undefined,
    universeDomain: undefined,
    ...all[name],
  };
  const faults: string[] = [];
  const expectKind = (other: string | undefined, kind: string): void => {
    if (other !== undefined && (!Object.hasOwn(all, other) || all[other]?.kind !== kind))
      faults.push(`${name}: there is no identity "${other}" of kind ${kind}`);
  };
  expectKind(aws, 'aws');
  expectKind(google, 'gcp');
  if (isCircle(all, name)) faults.push(`${name}: refers to itself in a circle`);
  if (universeDomain !== undefined && !isAllowedUniverse(universeDomain, environment))
    faults.push(`${name}.universeDomain: is not listed in ISTHMUS_UNIVERSE_DOMAINS`);
  return faults;
}
