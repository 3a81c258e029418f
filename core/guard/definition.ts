import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { PluginContext, PluginDefinition, SinkDefinition, SourceDefinition } from '../api/plugin.ts';
import type { Sink } from '../api/sink.ts';
import type { Source } from '../api/source.ts';
import type { Step } from '../api/step.ts';
import { visible } from '../api/text.ts';
import { LIMITS, type Limits, type Watched, wrongShape } from './patience.ts';
import { guardedSink } from './sink.ts';
import { guardedSource } from './source.ts';

/**
 * A plugin that does not come with Isthmus. It runs in this process, so nothing keeps it from doing harm; but what it
 * does wrong is told with its name, is the failure of one item where it can be, and ends by itself.
 *
 * @param from where it was loaded from, for people: `./my-source.ts`.
 */
export function guarded(definition: PluginDefinition, from: string, limits: Limits = LIMITS): PluginDefinition {
  const watched: Watched = { who: `plugin "${definition.name}" (${visible(from)})`, limits };
  const made = (config: object, context: PluginContext): object => {
    let object: unknown;
    try {
      object = definition.create(config, context);
    } catch (thrown) {
      const error = asBrokerError(thrown);
      if (error.code !== 'internal') throw error;
      throw new BrokerError('plugin_failed', `${watched.who}: create threw: ${error.message}`);
    }
    if (typeof object !== 'object' || object === null) throw wrongShape(watched, 'create returned nothing');
    if (object instanceof Promise) {
      object.catch(() => undefined);
      throw wrongShape(watched, 'create returned a promise: make the object at once, and connect when it is used');
    }
    expectMethods(object, definition.kind, watched);
    if (definition.kind === 'step') expectStep(object, watched);
    return object;
  };
  switch (definition.kind) {
    case 'source':
      return {
        ...definition,
        create: (config, context) => guardedSource(made(config, context) as Source, watched),
      } satisfies SourceDefinition;
    case 'sink':
      return {
        ...definition,
        create: (config, context) => guardedSink(made(config, context) as Sink, watched),
      } satisfies SinkDefinition;
    default:
      return { ...definition, create: made as never };
  }
}

const METHODS: Readonly<Record<PluginDefinition['kind'], readonly string[]>> = {
  source: ['list', 'open'],
  sink: ['write'],
  step: [],
  state: ['load', 'save'],
};

/** What a step may have, and of what type. */
const STEP = {
  keys: 'string',
  repeats: 'boolean',
  beside: 'object',
  from: 'function',
  leaves: 'function',
  changes: 'function',
  describe: 'function',
  bytes: 'function',
} as const satisfies Readonly<Record<Exclude<keyof Step, symbol>, string>>;

/** All of it is optional, so that a typing mistake would be a step that does nothing. */
function expectStep(object: object, watched: Watched): void {
  for (const [name, value] of Object.entries(object)) {
    const wanted = STEP[name as keyof typeof STEP];
    if (wanted === undefined && Object.getPrototypeOf(object) === Object.prototype)
      throw wrongShape(watched, `a step has no ${visible(name)}: ${Object.keys(STEP).join(', ')}`);
    if (wanted !== undefined && value !== undefined && typeof value !== wanted)
      throw wrongShape(watched, `${name} of the step is no ${wanted}`);
  }
}

function expectMethods(object: object, kind: PluginDefinition['kind'], watched: Watched): void {
  const missing = METHODS[kind].filter((name) => typeof (object as Record<string, unknown>)[name] !== 'function');
  if (missing.length > 0) throw wrongShape(watched, `what create returned has no method ${missing.join(', no ')}`);
  if (kind !== 'source' && kind !== 'sink') return;
  if (typeof (object as { location?: unknown }).location !== 'string')
    throw wrongShape(watched, 'what create returned has no location');
}
