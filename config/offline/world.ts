import { join } from 'node:path';
import { BrokerError } from '../../core/api/index.ts';
import type { PluginDefinition } from '../../core/api/plugin.ts';
import type { Configured, Pipeline } from '../../core/pipeline/validate.ts';
import type { LocalCloud } from '../../test/cloud/local-cloud.ts';
import { roleSession } from '../../test/cloud/principals.ts';
import { type CloudFixture, FIXED, fixturesIn } from './fixtures.ts';

type Options = Readonly<Record<string, unknown>>;

const text = (options: Options, name: string): string => (typeof options[name] === 'string' ? options[name] : '');

/** The AWS role that identities expect to run as. */
export function sessionFor({ identities }: Pipeline, cloud: LocalCloud): Record<string, string> {
  const expected = Object.values(identities).flatMap((one) => (one.kind === 'gcp' && one.expect ? [one.expect] : []));
  const [first] = expected;
  const { roleName = 'exports', awsAccountId = cloud.session.account } = first ?? {};
  if (first === undefined || cloud.session.arn.startsWith(`arn:aws:sts::${awsAccountId}:assumed-role/${roleName}/`))
    return {};
  const made = roleSession(roleName, 'isthmus-test', awsAccountId);
  cloud.principals.set(made.accessKeyId, made);
  Object.assign(cloud, { session: made });
  return {
    AWS_ACCESS_KEY_ID: made.accessKeyId,
    AWS_SECRET_ACCESS_KEY: made.secretAccessKey,
    AWS_SESSION_TOKEN: made.sessionToken ?? '',
  };
}

/** Who the pipeline expects to be, the local cloud lets it be. */
export function trust({ identities }: Pipeline, cloud: LocalCloud): ReadonlySet<string> {
  const principals = new Set<string>();
  const { account, arn } = cloud.session;
  const own = arn.split('/')[1] ?? '';
  for (const identity of Object.values(identities)) {
    if (identity.kind === 'aws' && identity.roleArn !== undefined) {
      const name = identity.roleArn.slice(identity.roleArn.lastIndexOf('/') + 1);
      if (identity.google !== undefined)
        throw new BrokerError(
          'invalid_config',
          'isthmus test runs as on AWS: an identity with google needs Google Cloud',
          {
            hint: 'Try such a pipeline with isthmus doctor where it runs.',
          },
        );
      cloud.awsSts.assumable.set(name, { ...(identity.externalId && { externalId: identity.externalId }), tags: true });
    }
    if (identity.kind !== 'gcp') continue;
    const { audience, serviceAccount } = identity;
    const pool = audience?.replace(/\/providers\/.*/, '') ?? '';
    if (audience !== undefined) {
      const { providers } = cloud.googleSts;
      const there = providers.findIndex((one) => one.audience === audience);
      providers.splice(there < 0 ? providers.length : there, 1, { audience, awsAccountId: account, roleName: own });
    }
    if (serviceAccount !== undefined)
      cloud.iamCredentials.workloadIdentityUsers.set(serviceAccount, `principal:${pool}/`);
    // Without a service account the role itself is who reads.
    principals.add(serviceAccount ?? `principal:${pool}/subject/${cloud.session.userId}`);
  }
  return principals;
}

/** Puts the places that a pipeline names into the local cloud, and the fixtures into them. */
export class World {
  readonly #cloud: LocalCloud;
  readonly #principals: readonly string[];
  readonly #fixtures: string;

  constructor(cloud: LocalCloud, principals: ReadonlySet<string>, fixtures: string) {
    this.#cloud = cloud;
    this.#principals = [...principals];
    this.#fixtures = fixtures;
  }

  async fill(pipeline: Pipeline): Promise<void> {
    const { sources, sinks, through, state, receipts, deadLetters } = pipeline;
    for (const [place, source] of sources.entries()) {
      const named = sources.length === 1 ? 'source' : `source.${place}`;
      await this.#endpoint(source, join(this.#fixtures, named));
    }
    for (const [place, sink] of sinks.entries())
      await this.#endpoint(sink, join(this.#fixtures, sinks.length === 1 ? 'sink' : `sink.${place}`));
    for (const { plugin, config } of through)
      if (plugin.name === 'encrypt') this.#cloud.kms.keys.set(text(config as Options, 'kmsKeyArn'), []);
    for (const kept of [state, receipts, deadLetters]) if (kept !== undefined) this.#bucket(kept);
  }

  async #endpoint(endpoint: Configured<PluginDefinition>, folder: string): Promise<void> {
    const options = endpoint.config as Options;
    this.#bucket(endpoint);
    const prefix = text(options, 'prefix');
    for (const { key, bytes } of await fixturesIn(folder)) {
      if (endpoint.plugin.name === 'gcs')
        this.#cloud.gcs.buckets
          .get(text(options, 'bucket'))
          ?.put(prefix + key, bytes, { updated: FIXED.toISOString() });
      if (endpoint.plugin.name === 's3')
        this.#cloud.s3.buckets.get(text(options, 'bucket'))?.put(prefix + key, bytes, { lastModified: FIXED });
    }
  }

  /** The buckets that it names, also those for what is on its way. */
  #bucket({ plugin, config }: Configured<PluginDefinition>): void {
    const { region = 'eu-west-1', staging } = config as { region?: string; staging?: { bucket?: string } };
    const name = text(config as Options, 'bucket');
    const { gcs, s3 } = this.#cloud;
    if (plugin.name === 's3' && !s3.buckets.has(name)) s3.bucket(name, region, this.#cloud.session.account);
    for (const one of [plugin.name === 's3' ? undefined : name, staging?.bucket]) {
      if (one === undefined || one === '') continue;
      const bucket = gcs.buckets.get(one) ?? gcs.bucket(one, [], []);
      // Whoever is nobody, reads what is public.
      const who = this.#principals.length === 0 ? ['allUsers'] : this.#principals;
      for (const set of [bucket.readers, bucket.writers]) for (const principal of who) set.add(principal);
    }
  }

  services({ bigquery, vertexai }: CloudFixture): void {
    for (const principal of this.#principals) {
      this.#cloud.bigquery.users.add(principal);
      this.#cloud.vertexai.users.add(principal);
    }
    for (const [name, { fields, rows }] of Object.entries(bigquery?.tables ?? {})) {
      const [project = '', dataset = '', table = ''] = name.split('.');
      const there = this.#cloud.bigquery.datasets.get(`${project}.${dataset}`);
      const made = there ?? this.#cloud.bigquery.dataset(project, dataset, bigquery?.location);
      made.table(table, { fields, rows } as never);
    }
    for (const { matches, fields, rows } of bigquery?.answers ?? []) {
      const answers = this.#cloud.bigquery.dataset('isthmus-test', `answer_${this.#cloud.bigquery.answers.length}`);
      const answer = answers.table('answer', { fields, rows } as never);
      const { location = 'EU' } = bigquery ?? {};
      const plain = new RegExp(matches.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
      this.#cloud.bigquery.answers.push({ matches: plain, location, answer: () => answer });
    }
    for (const [name, prediction] of Object.entries(vertexai ?? {}))
      this.#cloud.vertexai.models.set(name, (instance) => (prediction === 'echo' ? instance : prediction) as never);
  }
}
