export { throughSource } from './source.ts';
export { Steps, throughFilter } from './steps.ts';

/** What a pipeline with steps loads. */
export type Through = typeof import('./index.ts');
