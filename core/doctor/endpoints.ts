import type { Check } from '../api/check.ts';
import { asBrokerError } from '../api/errors.ts';
import type { Grant } from '../api/plugin.ts';
import { failureSaid } from '../auth/failures/table.ts';
import { factsOf, type GcpIdentity, type Known } from '../auth/federated.ts';
import { usesOf } from '../pipeline/grants.ts';
import type { OpenJob } from '../runtime/job.ts';
import { prefixCondition } from '../setup/trust.ts';
import { type Finding, found } from './finding.ts';

interface EndpointOptions {
  readonly gcp: readonly (readonly [string, GcpIdentity])[];
  /** Whom Google knows each identity as. */
  readonly names: ReadonlyMap<string, Known>;
  readonly signal: AbortSignal;
  readonly before: readonly Finding[];
}

/** The last steps: each source and sink, and the state, by its own check, with the binding that is missing where one is. */
export async function endpointFindings(
  { job, pipeline }: OpenJob,
  { gcp, names, signal, before }: EndpointOptions,
): Promise<readonly Finding[]> {
  // Also those that were never reached: what they would be used for cannot work either.
  const broken = new Set(
    before
      .filter(({ verdict, detail }) => verdict === 'fail' || (verdict === 'skip' && detail.startsWith('not reached')))
      .map(({ about }) => about),
  );
  const findings: Finding[] = [];
  const { state } = pipeline;
  const uses = usesOf(pipeline);
  const kept = [
    [pipeline.receipts, job.receipts],
    [pipeline.deadLetters, job.deadLetters],
  ] as const;
  const besides = kept.flatMap(([configured, made]) => (configured && made ? [{ configured, made }] : []));
  const all = {
    source: { configured: pipeline.sources, made: job.sources },
    sink: {
      configured: [...pipeline.sinks, ...besides.map(({ configured }) => configured)],
      made: [...job.sinks, ...besides.map(({ made }) => made)],
    },
    // What keeps nothing elsewhere has nothing that could be refused.
    state: { configured: state === undefined ? [] : [state], made: job.state.check === undefined ? [] : [job.state] },
  };
  for (const kind of ['source', 'sink', 'state'] as const) {
    const { configured, made } = all[kind];
    for (const [index, endpoint] of made.entries()) {
      const { plugin, config } = configured[index] ?? {};
      const about = 'location' in endpoint ? endpoint.location : (plugin?.name ?? kind);
      const grants = plugin?.grants?.(config ?? {}, kind === 'source' ? uses.source : {}) ?? [];
      const identity = grants[0]?.identity;
      if (identity !== undefined && broken.has(identity)) {
        findings.push(found(kind, 'skip', `not reached: identity ${identity} does not work`, { about }));
      } else if (endpoint.check === undefined) {
        findings.push(found(kind, 'skip', `plugin ${plugin?.name ?? ''} has no check`, { about }));
      } else {
        for (const check of await endpoint.check({ signal }).catch(thrownAsCheck))
          findings.push(ofCheck(kind, check, about, bindingFor(grants, gcp, names)));
      }
    }
  }
  return findings;
}

/** A check that threw instead of telling. */
function thrownAsCheck(thrown: unknown): readonly Check[] {
  const { code, message, hint } = asBrokerError(thrown);
  if (code === 'stopped') throw thrown;
  return [{ name: 'check', verdict: 'fail', detail: message, hint, code }];
}

function ofCheck(
  step: 'source' | 'sink' | 'state',
  { name, verdict, detail, hint, code, id }: Check,
  about: string,
  binding: string | undefined,
): Finding {
  const known = id ?? (verdict === 'fail' ? failureSaid(detail, step) : undefined);
  // A right on the bucket, and no refusal of the credentials on the way there.
  const missing = verdict === 'fail' && /storage\.(?:objects|buckets)\./.test(detail);
  const fix = (missing ? binding : undefined) ?? hint;
  const more = {
    about,
    ...(fix === undefined ? {} : { fix }),
    ...(verdict === 'pass' ? {} : { id: known ?? code ?? 'permission_denied' }),
  };
  return found(step, verdict, `${name}: ${detail}`, more);
}

/** The very line that grants what is missing. */
function bindingFor(
  grants: readonly Grant[],
  gcp: readonly (readonly [string, GcpIdentity])[],
  names: ReadonlyMap<string, Known>,
): string | undefined {
  const grant = grants.find((one) => one.cloud === 'gcp' && 'bucket' in one.on);
  const [name = '', identity] = gcp.find(([one]) => one === grant?.identity) ?? [];
  if (grant?.cloud !== 'gcp' || !('bucket' in grant.on) || identity === undefined) return undefined;
  const { serviceAccount } = identity;
  const member =
    serviceAccount === undefined ? factsOf(identity, names.get(name)).member : `serviceAccount:${serviceAccount}`;
  const { on, role } = grant;
  const condition = prefixCondition({ on, role, member: member ?? '', reason: grant.reason });
  // gcloud takes a condition apart at commas.
  const limit =
    condition === undefined
      ? '--condition=None'
      : condition.expression.includes(',')
        ? '--condition-from-file=FILE'
        : `--condition='expression=${condition.expression.replaceAll("'", `'\\''`)},title=${condition.title}'`;
  return `gcloud storage buckets add-iam-policy-binding gs://${on.bucket} --role=${role} --member="${member ?? 'PRINCIPAL'}" ${limit}`;
}
