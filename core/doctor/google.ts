import { readFile } from 'node:fs/promises';
import type { GcpTokenRequest } from '../api/credentials.ts';
import { asBrokerError } from '../api/errors.ts';
import { stepOf } from '../auth/failures/table.ts';
import { federatedName, type GcpIdentity, type Known } from '../auth/federated.ts';
import { CLOUD_PLATFORM } from '../auth/google-sts.ts';
import { jwtClaims } from '../auth/jwt.ts';
import { LONGEST_SUBJECT, principal, providerName } from '../auth/principal.ts';
import { STEPS, type StepName } from '../auth/steps.ts';
import { awsSubjectToken, checkSubjectToken } from '../auth/subject-token.ts';
import type { Met } from './aws.ts';
import { type Finding, failed, found } from './finding.ts';
import type { Patient } from './patient.ts';

/** Step 4: as whom Google will know us, worked out from the mapping that `auth setup` makes. */
export function predictedIdentity(name: string, identity: GcpIdentity, known: Known): readonly Finding[] {
  const { subject, member } = federatedName(identity, known);
  const provider = identity.audience === undefined ? undefined : providerName(identity.audience);
  const predicted = new Set<string>();
  const findings: Finding[] = [];
  if (subject !== undefined && provider !== undefined) {
    const bytes = Buffer.byteLength(subject);
    predicted.add(`${principal(provider, subject)} (google.subject has ${bytes} of ${LONGEST_SUBJECT} bytes)`);
    if (bytes > LONGEST_SUBJECT) findings.push(tooLong(name, 'google.subject', bytes));
  }
  if (identity.from === 'aws-signature') {
    if (member !== undefined) predicted.add(member);
    const bytes = Buffer.byteLength(known.caller?.arn ?? '');
    if (bytes > LONGEST_SUBJECT)
      findings.push(tooLong(name, "assertion.arn, Google's default for google.subject,", bytes));
  }
  if (predicted.size === 0) return findings;
  return [
    found('google-sts', 'pass', `Google will see ${[...predicted].join(', also ')}`, { about: name }),
    ...findings,
  ];
}

const tooLong = (about: string, what: string, bytes: number): Finding =>
  found('google-sts', 'warn', `${what} would have ${bytes} bytes, more than the ${LONGEST_SUBJECT} that Google takes`, {
    about,
    fix: 'Map google.subject=assertion.userid in the provider; `isthmus auth setup` does.',
    id: 'STS_SUBJECT_TOO_LONG',
  });

/** Step 5 for a token of Kubernetes: whom and what it is for, and how long it is good. */
export async function podToken(name: string, { from, tokenFile, audience }: GcpIdentity, now: number) {
  if (from !== 'kubernetes-token') return { sub: undefined, findings: [] };
  const { sub, aud, exp } = jwtClaims(await readFile(tokenFile ?? '', 'utf8').catch(() => '')) ?? {};
  const audiences = [aud].flat().filter((one) => one !== undefined);
  const findings: Finding[] = [];
  if (audiences.length > 0 && !audiences.some((one) => one === audience || one === `https:${audience}`)) {
    const detail = `the token is for ${audiences.join(', ')}; the provider takes https:${audience} unless it lists others`;
    const fix = `Set audience: "https:${audience}" in the projected volume, or --allowed-audiences of the provider.`;
    findings.push(found('subject-token', 'warn', detail, { about: name, fix, id: 'STS_TOKEN_FORMAT' }));
  }
  if (exp !== undefined && exp * 1000 > now)
    findings.push(
      found('subject-token', 'pass', `the token ends at ${new Date(exp * 1000).toISOString()}`, { about: name }),
    );
  return { sub, findings };
}

/** Step 5: the proof, made as a run makes it, read as its receiver will and checked offline. */
export function selfCheck(
  name: string,
  { audience, from }: GcpIdentity,
  { credentials, region }: Pick<Met, 'credentials' | 'region'>,
  now: number,
): readonly Finding[] {
  if (from !== 'aws-signature' || audience === undefined) return [];
  const token = awsSubjectToken(audience, credentials, region, now);
  const { targetSigned, signatureHolds, fingerprint } = checkSubjectToken(token, audience, credentials, region);
  const about = name;
  if (targetSigned && signatureHolds) {
    const detail = `signed in ${region} with the target provider among the signed headers, verified offline (${fingerprint})`;
    return [found('subject-token', 'pass', detail, { about })];
  }
  return [
    found('subject-token', 'fail', 'the signature does not hold', { about, fix: 'Report this: it is a defect.' }),
  ];
}

/** Steps 6 and 7: the exchange and what follows, by the chain that a run uses. What was not reached is said so. */
export async function chainFindings(
  name: string,
  identity: GcpIdentity,
  { broker, signal, steps }: Patient,
): Promise<readonly Finding[]> {
  const asked: readonly GcpTokenRequest[] = broker.asked.get(name) ?? [
    { scopes: [CLOUD_PLATFORM], ...(identity.downscope ? { within: [] } : {}) },
  ];
  const expected = expectedSteps(identity);
  try {
    for (const request of asked) await broker.gcp(name, request)?.get({ signal });
    return steps(name);
  } catch (thrown) {
    const error = asBrokerError(thrown);
    if (error.code === 'stopped') throw error;
    const seen = steps(name);
    const next = expected.find((step) => seen.every((finding) => finding.step !== step)) ?? 'google-sts';
    const at = stepOf(error) ?? next;
    const later = expected.slice(expected.indexOf(at) + 1).filter((step) => STEPS.indexOf(step) > STEPS.indexOf(at));
    const skipped = later.map((step) => found(step, 'skip', 'not reached', { about: name }));
    return [...seen, failed(at, error, name), ...skipped];
  }
}

function expectedSteps({ from, serviceAccount, downscope }: GcpIdentity): readonly StepName[] {
  const proof: readonly StepName[] = from === 'metadata' ? ['google-identity'] : ['subject-token', 'google-sts'];
  const borrowed: readonly StepName[] = serviceAccount === undefined ? [] : ['impersonation'];
  return [...proof, ...borrowed, ...(downscope ? (['downscoping'] as const) : [])];
}
