import type { BuildFailure } from 'esbuild';
import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';

/** What the bundler found wrong, at its place. */
export function bundleFailure(error: unknown): BrokerError {
  const [first] = (error as Partial<BuildFailure>).errors ?? [];
  const place = first?.location ? `${first.location.file}:${first.location.line}: ` : '';
  const native = /No loader is configured for "\.node"/.test(first?.text ?? '');
  return new BrokerError('invalid_config', `cannot be bundled: ${visible(`${place}${first?.text ?? String(error)}`)}`, {
    hint: native
      ? 'A plugin needs a native module, which no bundle can hold: use one in JavaScript or WebAssembly.'
      : 'Correct what the message names; `isthmus plugins` shows whether the plugin loads at all.',
  });
}
