import { createHash } from 'node:crypto';
import { defineStep, type Step, z } from '../../core/api/index.ts';

export const checksum = defineStep({
  name: 'checksum',
  summary:
    'Puts a file with its checksum beside each item, as `sha256sum --check` reads it. Reads each item a second time.',
  stability: 'beta',
  config: z.strictObject({
    algorithm: z.enum(['sha256', 'sha512', 'sha1', 'md5']).default('sha256').describe('Of the checksum.'),
  }),
  create: ({ algorithm }): Step => ({
    beside: {
      suffix: `.${algorithm}`,
      contentType: 'text/plain; charset=utf-8',
      content: async (content, key) => {
        const hash = createHash(algorithm);
        for await (const chunk of content) hash.update(chunk);
        return Buffer.from(line(hash.digest('hex'), key.slice(key.lastIndexOf('/') + 1)));
      },
    },
  }),
});

/** A name with a line break or a backslash is escaped, and its line begins with a backslash. Source: https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html */
function line(sum: string, name: string): string {
  const escaped = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
  return `${escaped === name ? '' : '\\'}${sum}  ${escaped}\n`;
}
