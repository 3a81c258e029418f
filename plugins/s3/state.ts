import { randomUUID } from 'node:crypto';
import {
  BrokerError,
  backoffMs,
  type Check,
  checked,
  defineState,
  type JsonValue,
  type PluginContext,
  pause,
  type RetryPolicy,
  type Revision,
  type Saved,
  type Sink,
  type StateStore,
  z,
} from '../../core/api/index.ts';
import type { S3Place } from './client.ts';
import { s3Config, s3Options } from './config.ts';
import { s3Failure } from './errors.ts';
import { literal, partitionOf } from './grants.ts';
import { isListed, statusOf } from './lookup.ts';
import { connectRest, type S3Rest } from './rest.ts';
import { S3Sink } from './sink.ts';

const MOST_SAVES = 5;
const PATIENCE: RetryPolicy = { attempts: MOST_SAVES, baseDelayMs: 100, maxDelayMs: 1000 };

/** Each save has its own name, so that equal values have different ETags, and a save whose answer was lost is known. */
const envelope = z.strictObject({ savedBy: z.string(), value: z.json() });

/**
 * One object for each key. Compare-and-swap is S3's own: `If-None-Match` and `If-Match`.
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
 */
class S3State implements StateStore {
  readonly location: string;
  readonly files: Sink;
  readonly #config: S3Place;
  readonly #context: PluginContext;
  /** Earlier saves of which it is not known whether S3 has carried them out, by key. */
  readonly #unconfirmed = new Map<string, Set<string>>();
  #rest: Promise<S3Rest> | undefined;

  constructor(config: S3Place, context: PluginContext) {
    this.location = `s3://${config.bucket}/${config.prefix}`;
    this.#config = config;
    this.#context = context;
    this.files = new S3Sink(s3Config.parse(config), context);
  }

  async load(key: string, { signal }: { signal: AbortSignal }): Promise<Saved | undefined> {
    return (await this.#read(key, signal))?.saved;
  }

  async save(
    key: string,
    value: JsonValue,
    expected: Revision | undefined,
    { signal }: { signal: AbortSignal },
  ): Promise<Revision> {
    const savedBy = randomUUID();
    const body = Buffer.from(JSON.stringify({ savedBy, value }));
    const mine = this.#unconfirmed.get(key) ?? new Set<string>();
    let before = expected;
    for (let attempt = 1; ; attempt++) {
      try {
        const revision = await this.#put(key, body, before, signal);
        this.#unconfirmed.delete(key);
        return revision;
      } catch (thrown) {
        const error = this.#failure(thrown, 'save', key, 's3:PutObject');
        if (error.code !== 'conflict' && error.code !== 'write_conflict') {
          // Given up, or no answer: it may have been saved all the same.
          this.#unconfirmed.set(key, mine.add(savedBy));
          throw error;
        }
        const there = await this.#read(key, signal).catch((unread: unknown) => {
          this.#unconfirmed.set(key, mine.add(savedBy));
          throw unread;
        });
        if (there?.savedBy === savedBy) return there.saved.revision;
        const own = there !== undefined && mine.has(there.savedBy);
        // One of ours whose answer was lost, or one that is still on its way (409): the next try knows.
        if ((!own && error.code === 'conflict') || attempt >= MOST_SAVES)
          throw new BrokerError('state_conflict', `${this.#url(key)} was saved by another run`);
        if (own) before = there.saved.revision;
        else await pause(backoffMs(PATIENCE, attempt), signal);
      }
    }
  }

  async #put(key: string, body: Buffer, before: Revision | undefined, signal: AbortSignal): Promise<Revision> {
    const rest = await this.#connect();
    const condition: Record<string, string> = before === undefined ? { 'if-none-match': '*' } : { 'if-match': before };
    const answer = await rest.done({
      method: 'PUT',
      key: this.#name(key),
      headers: { ...condition, 'content-type': 'application/json' },
      body,
      signal,
    });
    return (answer.headers.etag ?? '') as Revision;
  }

  async delete(key: string, expected: Revision, { signal }: { signal: AbortSignal }): Promise<void> {
    const rest = await this.#connect();
    let before = expected;
    for (let attempt = 1; ; attempt++) {
      try {
        await rest.done({ method: 'DELETE', key: this.#name(key), headers: { 'if-match': before }, signal });
        this.#unconfirmed.delete(key);
        return;
      } catch (thrown) {
        const error = this.#failure(thrown, 'delete', key, 's3:DeleteObject');
        if (error.code !== 'conflict' && error.code !== 'write_conflict') throw error;
        const there = await this.#read(key, signal);
        // Gone is what was wanted, and what a second try finds.
        if (there === undefined) return;
        const own = this.#unconfirmed.get(key)?.has(there.savedBy) === true;
        if (!own || attempt >= MOST_SAVES)
          throw new BrokerError('state_conflict', `${this.#url(key)} was saved by another run`);
        before = there.saved.revision;
      }
    }
  }

  async reset(key: string, { signal }: { signal: AbortSignal }): Promise<void> {
    const rest = await this.#connect();
    await rest.done({ method: 'DELETE', key: this.#name(key), signal }).catch((error: unknown) => {
      throw this.#failure(error, 'delete', key, 's3:DeleteObject');
    });
  }

  async check({ signal }: { signal: AbortSignal }): Promise<readonly Check[]> {
    const key = `.isthmus-probe-${randomUUID()}`;
    const probe = async (): Promise<string> => {
      await this.load(key, { signal });
      await this.delete(key, await this.save(key, null, undefined, { signal }), { signal });
      return `a checkpoint was saved below s3://${this.#config.bucket}/${this.#config.prefix} and deleted`;
    };
    return [await checked('save', probe)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.files[Symbol.asyncDispose]?.();
    (await this.#rest?.catch(() => undefined))?.[Symbol.dispose]();
  }

  async #read(key: string, signal: AbortSignal): Promise<{ savedBy: string; saved: Saved } | undefined> {
    const rest = await this.#connect();
    let text: string;
    let etag: string | undefined;
    try {
      const answer = await rest.text({ method: 'GET', key: this.#name(key), signal });
      etag = answer.headers.etag;
      text = answer.text;
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'bad_response')
        throw this.#unreadable(key, 'it is too large for a checkpoint');
      if (error instanceof BrokerError) throw error;
      if (statusOf(error) === 404 && (error as Error).name === 'NoSuchKey') return undefined;
      if (statusOf(error) === 403) {
        const there = await isListed(rest, this.#name(key), signal).catch(() => true);
        if (!there) return undefined;
      }
      throw this.#failure(error, 'read', key, 's3:GetObject');
    }
    try {
      const { savedBy, value } = envelope.parse(JSON.parse(text));
      return { savedBy, saved: { value, revision: (etag ?? '') as Revision } };
    } catch {
      throw this.#unreadable(key, 'it is not what was saved there');
    }
  }

  #failure(error: unknown, doing: string, key: string, permission: string): BrokerError {
    return s3Failure(error, `${doing} the state ${this.#url(key)}`, permission, this.#config);
  }

  #unreadable(key: string, why: string): BrokerError {
    return new BrokerError('state_unreadable', `${this.#url(key)}: ${why}`);
  }

  #name(key: string): string {
    return `${this.#config.prefix}${encodeURIComponent(key)}.json`;
  }

  #url(key: string): string {
    return `s3://${this.#config.bucket}/${this.#name(key)}`;
  }

  #connect(): Promise<S3Rest> {
    this.#rest ??= connectRest(this.#config, this.#context);
    return this.#rest;
  }
}

export const s3State = defineState({
  name: 's3',
  summary: 'Keeps the checkpoint in an S3 bucket, so a run goes on where it was, wherever the next invocation is.',
  lasts: 'anywhere',
  inBucket: ({ bucket, prefix, endpoint }) => (endpoint === undefined ? { bucket, prefix } : undefined),
  config: s3Options.pick({
    bucket: true,
    identity: true,
    prefix: true,
    region: true,
    expectedBucketOwner: true,
    endpoint: true,
    forcePathStyle: true,
  }),
  identities: ['aws'],
  grants: ({ bucket, prefix, identity, region }) => {
    const arn = `arn:${partitionOf(region)}:s3:::${bucket}`;
    const place = `s3://${bucket}/${prefix}`;
    return [
      {
        cloud: 'aws',
        identity,
        actions: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'],
        resources: [`${arn}/${literal(prefix)}*`],
        reason: `keep the checkpoint below ${place}`,
      },
      {
        cloud: 'aws',
        identity,
        // Without it a checkpoint that is not there looks like one that may not be read.
        actions: ['s3:ListBucket'],
        resources: [arn],
        ...(prefix === '' ? {} : { condition: { StringLike: { 's3:prefix': `${literal(prefix)}*` } } }),
        reason: `see whether there is a checkpoint below ${place}`,
      },
    ];
  },
  create: (config, context) => new S3State(config, context),
});
