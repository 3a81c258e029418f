import { byteSize, compileGlob, defineStep, keyGlob, type Step, z } from '../../core/api/index.ts';

export const filter = defineStep({
  name: 'filter',
  summary:
    'Leaves items out, by what the steps before it have made of them. What a source holds is chosen with `filter:`.',
  stability: 'beta',
  config: z.strictObject({
    include: z.array(keyGlob()).min(1).optional().describe('Only keys that match one of these globs.'),
    exclude: z.array(keyGlob()).min(1).optional().describe('No keys that match one of these globs.'),
    contentTypes: z.array(keyGlob()).min(1).optional().describe('Only items of these content types: `text/*`.'),
    minSize: byteSize().optional().describe('Only items of at least so many bytes, where the size is known.'),
    maxSize: byteSize().optional().describe('Only items of at most so many bytes, where the size is known.'),
  }),
  create: ({ include, exclude = [], contentTypes, minSize = 0, maxSize = Number.POSITIVE_INFINITY }): Step => {
    const wanted = include?.map(compileGlob);
    const unwanted = exclude.map(compileGlob);
    const types = contentTypes?.map(compileGlob);
    return {
      leaves: ({ key, size, headers }) => {
        const matches = (one: (text: string) => boolean): boolean => one(key);
        if (wanted?.some(matches) === false || unwanted.some(matches)) return 'its key';
        if (size !== undefined && (size < minSize || size > maxSize)) return 'its size';
        const type = headers?.contentType;
        return type !== undefined && types?.some((one) => one(type)) === false ? 'its content type' : undefined;
      },
    };
  },
});
