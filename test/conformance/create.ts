import type { Sink, SinkDefinition, Source, SourceDefinition, Step, StepDefinition } from '../../core/api/index.ts';
import type { LocalCloud } from '../cloud/local-cloud.ts';
import { pluginContext } from '../support.ts';

/** What a plugin is given besides its options. */
export interface CreateOptions {
  /** Its endpoints and the AWS identity of a Lambda are those of this local cloud. */
  readonly cloud?: LocalCloud;
  /** By name, as a pipeline writes them. */
  readonly identities?: Readonly<Record<string, object>>;
  /** Relative paths begin there. Default: the working directory. */
  readonly baseDir?: string;
  /** As if the pipeline deletes: with `move`, or `delete`. */
  readonly deletes?: boolean;
}

function contextOf({ cloud, identities, baseDir, deletes }: CreateOptions) {
  return {
    ...pluginContext({
      ...(cloud === undefined ? {} : { endpoints: cloud.endpoints, credentials: cloud.session }),
      ...(identities === undefined ? {} : { identities }),
      ...(baseDir === undefined ? {} : { baseDir }),
    }),
    ...(deletes === true ? { use: { deletes: true as const } } : {}),
  };
}

/** Makes a source as a pipeline would. @param options as under `with:`. @throws ZodError */
export const createSource = (definition: SourceDefinition, options: object, more: CreateOptions = {}): Source =>
  definition.create(definition.config.parse(options), contextOf(more));

/** Makes a sink as a pipeline would. */
export const createSink = (definition: SinkDefinition, options: object, more: CreateOptions = {}): Sink =>
  definition.create(definition.config.parse(options), contextOf(more));

/** Makes a step as a pipeline would. */
export const createStep = (definition: StepDefinition, options: object, more: CreateOptions = {}): Step =>
  definition.create(definition.config.parse(options), contextOf(more));
