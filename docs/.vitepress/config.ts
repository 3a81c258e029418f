import { defineConfig } from 'vitepress';

const REPOSITORY = 'https://github.com/isthmus-dev/isthmus';

/** Links to what lies beside the docs lead to the repository; within the docs a dead one ends the build. */
const beside =
  /^(?:\.\.\/)+(?:(?:core|plugins|config|test|examples)(?:\/|$)|README|CHANGELOG|CONTRIBUTING|SECURITY|LICENSE|pipeline\.example)/;

export default defineConfig({
  title: 'Isthmus',
  description: 'Carries data between clouds without long-lived keys: one YAML file is one pipeline.',
  lang: 'en',
  cleanUrls: true,
  lastUpdated: false,
  srcExclude: ['adr/**'],
  ignoreDeadLinks: [beside, /\/adr\//, /\/bench\//],
  markdown: {
    // As GitHub names headings: the same links lead there and here.
    anchor: {
      slugify: (text) =>
        text
          .trim()
          .toLowerCase()
          .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
          .replaceAll(/\s/g, '-'),
    },
    config: (md) => {
      // Templates of items are written {{so}}, and are no expressions of Vue.
      for (const name of ['text', 'code_inline'] as const) {
        const own = md.renderer.rules[name];
        md.renderer.rules[name] = (...given) => (own?.(...given) ?? '').replaceAll('{{', '&#123;&#123;');
      }
      md.core.ruler.push('beside', ({ tokens }) => {
        for (const token of tokens)
          for (const inner of token.children ?? []) {
            const target = inner.type === 'link_open' ? inner.attrGet('href') : null;
            if (target === null) continue;
            if (beside.test(target))
              inner.attrSet('href', `${REPOSITORY}/blob/main/${target.replace(/^(?:\.\.\/)+/, '')}`);
            else if (/^(?:\.\/)?(?:adr|bench)\b/.test(target))
              inner.attrSet('href', `${REPOSITORY}/blob/main/docs/${target.replace(/^\.\//, '')}`);
          }
      });
    },
  },
  themeConfig: {
    search: { provider: 'local' },
    socialLinks: [{ icon: 'github', link: REPOSITORY }],
    outline: [2, 3],
    nav: [
      { text: 'Start', link: '/start' },
      { text: 'Recipes', link: '/recipes/' },
      { text: 'Reference', link: '/options' },
      { text: 'Plugins', link: '/plugins' },
      { text: 'Compare', link: '/comparison' },
    ],
    sidebar: [
      {
        text: 'First hour',
        items: [
          { text: 'Start in two minutes', link: '/start' },
          { text: 'How keyless works', link: '/keyless' },
          { text: 'Set up the two clouds', link: '/setup' },
          { text: 'Deploy', link: '/deploy' },
          { text: 'FAQ', link: '/faq' },
        ],
      },
      {
        text: 'Recipes',
        items: [
          { text: 'All of them', link: '/recipes/' },
          { text: 'Lambda: Cloud Storage to S3', link: '/recipes/lambda-gcs-to-s3' },
          { text: 'ECS: Vertex AI to S3', link: '/recipes/ecs-vertex-ai' },
          { text: 'CodeBuild', link: '/recipes/codebuild' },
          { text: 'BigQuery to S3', link: '/recipes/bigquery-to-s3' },
          { text: 'From Google Cloud to AWS', link: '/recipes/gcp-to-aws' },
          { text: 'S3 to Cloud Storage', link: '/recipes/s3-to-gcs' },
        ],
      },
      {
        text: 'Guides',
        items: [
          { text: 'Sync, filters, deletes', link: '/sync' },
          { text: 'Steps on the way', link: '/steps' },
          { text: 'Test a pipeline offline', link: '/testing' },
          { text: 'BigQuery', link: '/bigquery' },
          { text: 'Vertex AI', link: '/vertexai' },
          { text: 'Over thousands of functions', link: '/distributed' },
          { text: 'Write a plugin', link: '/plugins' },
        ],
      },
      {
        text: 'Reference',
        items: [
          { text: 'Commands', link: '/cli' },
          { text: 'Options', link: '/options' },
          { text: 'Errors', link: '/errors' },
        ],
      },
      {
        text: 'Run it',
        items: [
          { text: 'Operations', link: '/operations' },
          { text: 'Security', link: '/security' },
          { text: 'Guarantees', link: '/guarantees' },
          { text: 'Faults', link: '/faults' },
          { text: 'How the bytes flow', link: '/data-path' },
          { text: 'Performance', link: '/performance' },
          { text: 'Scaling', link: '/scaling' },
          { text: 'Comparison', link: '/comparison' },
        ],
      },
    ],
  },
});
