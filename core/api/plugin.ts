import type { z } from 'zod';
import { CONTRACT } from './contract.ts';
import type { CredentialBroker, StorageScope } from './credentials.ts';
import type { Logger } from './runtime.ts';
import type { Sink } from './sink.ts';
import type { Source } from './source.ts';
import type { StateStore } from './state.ts';
import type { Step } from './step.ts';
import type { Transport } from './transport.ts';

export type IdentityKind = 'gcp' | 'aws' | 'anonymous';
export type Stability = 'stable' | 'beta' | 'experimental';

/** Base URLs of the clouds. Only whoever starts the process can change them, a pipeline cannot. */
export interface Endpoints {
  /** By the universe domain of the identity: `https://storage.googleapis.com`. */
  gcs(universeDomain: string): string;
  bigquery(universeDomain: string): string;
  /** @param location a region, or `global`. */
  vertexai(universeDomain: string, location: string): string;
  /** `undefined`: that of the region. */
  readonly s3: string | undefined;
  /** Of AWS KMS; `undefined`: that of the region. */
  readonly kms?: string | undefined;
  /** What its host begins with where the process wants FIPS or IPv6: `s3-fips`, `s3.dualstack`. */
  readonly s3Host?: string | undefined;
}

/**
 * What an identity must be allowed for one endpoint to work, and nothing more. Set-up and packaging turn grants into
 * roles, bindings and policies.
 */
export type Grant =
  | {
      readonly cloud: 'gcp';
      /** The name of the identity. */
      readonly identity: string;
      /** A role on one bucket (a prefix limits it to the objects below), on a dataset of BigQuery, or on a project. */
      readonly role: string;
      readonly on: StorageScope | { readonly project: string; readonly dataset?: string };
      /** Why, for people: the end of "so that the identity can". */
      readonly reason: string;
    }
  | {
      readonly cloud: 'aws';
      /** `undefined`: the ambient identity. */
      readonly identity: string | undefined;
      readonly actions: readonly string[];
      readonly resources: readonly string[];
      /** An IAM condition block. */
      readonly condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
      readonly reason: string;
    };

/** What a pipeline does with an endpoint besides reading a source and writing to a sink. */
export interface Use {
  /** It deletes: items that were moved, or what no source has. */
  readonly deletes?: true;
}

/** What a plugin is given besides its own options. */
export interface PluginContext {
  readonly pipeline: string;
  /** The folder of the pipeline file: relative paths begin here. */
  readonly baseDir: string;
  readonly credentials: CredentialBroker;
  readonly endpoints: Endpoints;
  readonly log: Logger;
  now(): number;
  /** Opens connections of one's own; whoever opens them disposes them. Touches no network yet. */
  transport(): Transport;
  /** What the pipeline does with this endpoint: rights that it does not need are not asked for. */
  readonly use?: Use;
}

interface Definition {
  /** The version of the plugin contract that it was built for. */
  readonly contract: number;
  /** What a pipeline writes behind `use:`. */
  readonly name: string;
  /** One sentence. */
  readonly summary: string;
  readonly stability: Stability;
  /** One schema gives the type, the validation, the JSON Schema and the option table. */
  readonly config: z.ZodObject;
  /** The kinds of identity that its option `identity` may name. */
  readonly identities?: readonly IdentityKind[];
  /** What the identity of an endpoint with these options must be allowed. */
  grants?(config: object, use?: Use): readonly Grant[];
}

/**
 * `create` never touches the network, so `validate` works offline and cold starts stay short. (Method syntax on
 * purpose: definitions with a narrower config stay assignable.)
 */
export interface SourceDefinition extends Definition {
  readonly kind: 'source';
  /** Its listing may have to wait for a job: a run pauses meanwhile, and whoever deploys it calls again. */
  readonly waits?: true;
  /**
   * Options that say how something is carried, and not what: a paused run goes on when they change. Those of mappings
   * by their path, `batch.maxFailedRatio`.
   */
  readonly tuning?: readonly string[];
  /** The option, by its path, that is of no use without a `state`: what was carried would be forgotten. */
  remembers?(config: object): string | undefined;
  /** Files of this machine that it reads: they are in no bundle. */
  localFiles?(config: object): readonly string[];
  create(config: object, context: PluginContext): Source;
}

export interface SinkDefinition extends Definition {
  readonly kind: 'sink';
  create(config: object, context: PluginContext): Sink;
}

/** Where in S3 something lies. */
export interface BucketPlace {
  readonly bucket: string;
  readonly prefix: string;
}

export interface StateDefinition extends Definition {
  readonly kind: 'state';
  /** Who finds again what was saved: nobody after this process, a process on this machine, or one anywhere. */
  readonly lasts: 'process' | 'machine' | 'anywhere';
  /** Where its files lie, if that is in S3: there Step Functions reads them. */
  inBucket?(config: object): BucketPlace | undefined;
  create(config: object, context: PluginContext): StateStore;
}

export interface StepDefinition extends Definition {
  readonly kind: 'step';
  create(config: object, context: PluginContext): Step;
}

export type PluginDefinition = SourceDefinition | SinkDefinition | StateDefinition | StepDefinition;

type Typed<Schema extends z.ZodObject, Made> = Omit<Definition, 'config' | 'contract' | 'stability' | 'grants'> & {
  readonly stability?: Stability;
  readonly config: Schema;
  grants?(config: z.output<Schema>, use?: Use): readonly Grant[];
  create(config: z.output<Schema>, context: PluginContext): Made;
};

/** Defines a source plugin; `config` in `create` has the type of the schema's output. */
export function defineSource<Schema extends z.ZodObject>(
  definition: Typed<Schema, Source> &
    Pick<SourceDefinition, 'waits' | 'tuning'> & {
      remembers?(config: z.output<Schema>): string | undefined;
      localFiles?(config: z.output<Schema>): readonly string[];
    },
): SourceDefinition {
  return { stability: 'beta', ...definition, kind: 'source', contract: CONTRACT };
}

/** Defines a sink plugin. */
export function defineSink<Schema extends z.ZodObject>(definition: Typed<Schema, Sink>): SinkDefinition {
  return { stability: 'beta', ...definition, kind: 'sink', contract: CONTRACT };
}

/** Defines a state store. */
export function defineState<Schema extends z.ZodObject>(
  definition: Typed<Schema, StateStore> &
    Pick<StateDefinition, 'lasts'> & {
      inBucket?(config: z.output<Schema>): BucketPlace | undefined;
    },
): StateDefinition {
  return { stability: 'beta', ...definition, kind: 'state', contract: CONTRACT };
}

/** Defines a step between sources and sinks. */
export function defineStep<Schema extends z.ZodObject>(definition: Typed<Schema, Step>): StepDefinition {
  return { stability: 'beta', ...definition, kind: 'step', contract: CONTRACT };
}
