import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chromiumPath, startChromium } from '../kit/chromium.ts';
import { root } from './pages.ts';

let site = '';
let said = '';

beforeAll(async () => {
  site = await mkdtemp(join(tmpdir(), 'isthmus-site-'));
  const built = spawnSync(
    process.execPath,
    [join(root, 'node_modules/vitepress/bin/vitepress.js'), 'build', 'docs', '--outDir', site],
    {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    },
  );
  said = built.stdout + built.stderr;
  expect(built.status, said).toBe(0);
}, 180_000);
afterAll(() => rm(site, { recursive: true, force: true }));

const html = (): readonly string[] => globSync('**/*.html', { cwd: site }).filter((name) => name !== '404.html');
const text = (name: string): string => readFileSync(join(site, name), 'utf8');

describe('the site', () => {
  it('is built without an error, and has every page', () => {
    expect(said).not.toMatch(/TypeError|ReferenceError|dead link/i);
    const pages = globSync('docs/**/*.md', { cwd: root, exclude: ['docs/adr/**'] });
    expect(html().length).toBe(pages.length);
  });

  it('has no dead link within it: neither to a page nor to a heading', () => {
    const ids = new Map(
      html().map((name) => [name, new Set([...text(name).matchAll(/\sid="([^"]+)"/g)].map(([, id = '']) => id))]),
    );
    const dead = html().flatMap((name) =>
      [...text(name).matchAll(/<a[^>]*\shref="([^"]+)"/g)]
        .map(([, href = '']) => href.replaceAll('&amp;', '&'))
        .filter((href) => !/^(https?:|mailto:)/.test(href))
        .filter((href) => {
          const { pathname, hash } = new URL(href, `http://site/${name}`);
          const path = decodeURIComponent(pathname).slice(1);
          const page = path.endsWith('.html')
            ? path
            : path === '' || path.endsWith('/')
              ? `${path}index.html`
              : `${path}.html`;
          if (!ids.has(page)) return !existsSync(join(site, path));
          return hash !== '' && !ids.get(page)?.has(decodeURIComponent(hash.slice(1)));
        })
        .map((href) => `${name}: ${href}`),
    );
    expect(dead).toEqual([]);
  });

  it('leads to files of the repository that are there', () => {
    const beside = html().flatMap((name) =>
      [...text(name).matchAll(/href="https:\/\/github\.com\/isthmus-dev\/isthmus\/blob\/main\/([^"#]+)/g)].map(
        ([, path = '']) => path,
      ),
    );
    expect(beside.length).toBeGreaterThan(10);
    expect(beside.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  it.skipIf(chromiumPath === undefined)(
    'is found through by its search, in a browser [needs Chromium: apt-get install chromium]',
    async () => {
      const types: Readonly<Record<string, string>> = {
        html: 'text/html',
        js: 'text/javascript',
        css: 'text/css',
        json: 'application/json',
        svg: 'image/svg+xml',
        woff2: 'font/woff2',
      };
      const server = createServer((request, response) => {
        const path = decodeURIComponent((request.url ?? '/').split('?')[0] ?? '/');
        const file = [path, `${path}.html`, `${path}index.html`]
          .map((one) => join(site, one))
          .find((one) => existsSync(one) && /\.\w+$/.test(one));
        if (file === undefined) return void response.writeHead(404).end();
        response.setHeader('content-type', types[file.slice(file.lastIndexOf('.') + 1)] ?? 'application/octet-stream');
        response.end(readFileSync(file));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const browser = await startChromium();
      try {
        const tab = await browser.newPage({ viewport: { width: 1200, height: 900 } });
        const errors: string[] = [];
        tab.on('pageerror', (error) => errors.push(String(error)));
        const shot = async (name: string): Promise<void> => {
          const folder = process.env.ISTHMUS_SCREENSHOTS;
          if (folder === undefined) return;
          await mkdir(folder, { recursive: true });
          await tab.screenshot({ path: join(folder, `${name}.png`) });
        };
        await tab.goto(base);
        await shot('docs-home');
        await tab.locator('.VPNavBarSearch button').first().click();
        await tab.locator('input.search-input').fill('attribute condition');
        await tab.locator('.results .result').first().waitFor();
        await shot('docs-search');
        expect(await tab.locator('.results .result').count()).toBeGreaterThan(0);
        await tab.goto(`${base}/recipes/lambda-gcs-to-s3`);
        expect(await tab.locator('h1').textContent()).toBeTruthy();
        await shot('docs-recipe');
        expect(errors).toEqual([]);
      } finally {
        await browser.close();
        server.closeAllConnections();
        server.close();
      }
    },
  );
});
