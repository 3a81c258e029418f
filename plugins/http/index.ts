import { defineSource } from '../../core/api/index.ts';
import { httpConfig } from './config.ts';
import { HttpSource } from './source.ts';

export const http = defineSource({
  name: 'http',
  summary: 'What lies at a list of public URLs, compared with the checksums that the servers, or you, publish.',
  config: httpConfig,
  create: (config, context) => new HttpSource(config, context),
});
