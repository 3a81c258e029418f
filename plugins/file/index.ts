import { resolve } from 'node:path';
import { defineSink, defineSource, z } from '../../core/api/index.ts';
import { FileSink } from './sink.ts';
import { FileSource } from './source.ts';

const config = z.strictObject({
  path: z.string().min(1).describe('The folder, relative to the pipeline file.'),
});

export const fileSource = defineSource({
  name: 'file',
  summary: 'Files below a folder of this machine.',
  config,
  create: ({ path }, context) => new FileSource(resolve(context.baseDir, path)),
});

export const fileSink = defineSink({
  name: 'file',
  summary:
    'Files below a folder of this machine, each replaced whole. Files that may be unchanged are read to compare them.',
  config,
  create: ({ path }, context) => new FileSink(resolve(context.baseDir, path)),
});
