import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isthmus } from '../faults/command.ts';
import { type World, world } from '../faults/world.ts';
import { chromiumPath, startChromium } from './chromium.ts';

const EVIL = '<img src=x onerror="document.title=1">\u202e&"\'';

/** A run with what can be told of one, and the page about it. */
async function page(w: World, ...more: string[]): Promise<string> {
  for (let n = 0; n < 60; n++) w.bucket.put(`data/${n}`, Buffer.alloc(n * 4000, 'x'));
  w.bucket.put(EVIL, 'evil');
  w.bucket.put('denied', 'not to be read');
  w.cloud.gcs.faults.add('o/denied?alt=media', { kind: 'answer', status: 403 }, Number.POSITIVE_INFINITY);
  const file = await w.write({
    top: { history: 5, state: { use: 's3', with: { bucket: 'state', region: 'eu-west-1' } } },
  });
  const [run, log, history, doctor, out] = ['run.json', 'run.log', 'history.json', 'doctor.json', 'report.html'].map(
    (name) => join(w.folder, name),
  ) as [string, string, string, string, string];
  await isthmus(w, 'run', file);
  w.bucket.put('data/1', 'changed');
  const told = await isthmus(w, 'run', file, '--json', '--log', 'json');
  await writeFile(run, told.out.join('\n'));
  await writeFile(log, told.err.join('\n'));
  await writeFile(history, (await isthmus(w, 'history', file, '--json')).out.join('\n'));
  await writeFile(doctor, (await isthmus(w, 'doctor', file, '--json')).out.join('\n'));
  const answer = await isthmus(w, 'report', file, run, log, history, doctor, ...more, '--out', out);
  expect(answer.code, answer.err.join('\n')).toBe(0);
  return out;
}

describe('isthmus report', () => {
  it('is one file that asks for nothing, and holds what there is to tell', async () => {
    await using w = await world();
    const text = await readFile(await page(w), 'utf8');
    expect(text).not.toMatch(/<script|<link|<iframe|<img|<[^>]*\s(?:src|href)=|url\((?!#)|@import/i);
    expect(text).toContain("default-src 'none'");
    for (const word of [
      'What failed',
      'permission_denied',
      'Fix:',
      'Timeline of',
      'Throughput',
      'Sizes of',
      'The keyless chain',
      'Google STS',
    ])
      expect(text, word).toContain(word);
    expect(text).toContain('storage.objects.get');
    expect(text).toContain('google-sts');
    expect(text).toContain('The last 2, the newest first');
  });

  it('escapes what names of objects would do to it', async () => {
    await using w = await world();
    w.bucket.put('x', 'x');
    const text = await readFile(await page(w), 'utf8');
    expect(text).not.toContain('<img');
    expect(text).not.toContain('\u202e');
    expect(text).toContain('&lt;img');
  });

  it.each([
    ['nothing.json', 'it does not exist'],
    ['other.json', 'it holds no report, log, receipts, history or findings of doctor'],
  ])('refuses %s: %s', async (name, message) => {
    await using w = await world();
    await writeFile(join(w.folder, 'other.json'), '{"a":1}');
    const { error } = await isthmus(w, 'report', join(w.folder, name));
    expect(error).toMatchObject({ code: 'invalid_config', message: expect.stringContaining(message) });
  });

  it('draws receipts alone', async () => {
    await using w = await world();
    const line = {
      time: '2026-11-26T10:00:01.000Z',
      outcome: 'written',
      key: 'a',
      bytes: 10,
      durationMs: 900,
      attempts: 1,
    };
    const lines = [{ isthmus: 'receipts' }, line, { ...line, key: 'b', time: '2026-11-26T10:00:02.000Z', attempts: 2 }];
    const [receipts, out] = [join(w.folder, 'r.receipts.jsonl'), join(w.folder, 'report.html')];
    await writeFile(receipts, lines.map((one) => JSON.stringify(one)).join('\n'));
    expect((await isthmus(w, 'report', receipts, '--out', out)).code).toBe(0);
    expect(await readFile(out, 'utf8')).toContain('Timeline of 2 items');
  });

  it.skipIf(chromiumPath === undefined)(
    'opens in a browser, in the light and in the dark, with no error and no request [needs Chromium: apt-get install chromium]',
    { timeout: 60_000 },
    async () => {
      await using w = await world();
      const file = await page(w);
      const shots = process.env.ISTHMUS_SCREENSHOTS;
      const browser = await startChromium();
      try {
        for (const scheme of ['light', 'dark'] as const) {
          const tab = await browser.newPage({ colorScheme: scheme, viewport: { width: 1100, height: 900 } });
          const [errors, asked]: [string[], string[]] = [[], []];
          tab.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
          tab.on('pageerror', (error) => errors.push(String(error)));
          tab.on('request', (request) => asked.push(request.url()));
          await tab.goto(pathToFileURL(file).href);
          expect(errors).toEqual([]);
          expect(asked).toHaveLength(1);
          expect(await tab.title()).toBe('faults: report of Isthmus');
          // Something is drawn, and nothing is wider than the page.
          expect(await tab.locator('figure svg').count()).toBeGreaterThan(2);
          const bar = await tab.locator('svg[aria-label^="Timeline"] rect').first().boundingBox();
          expect(bar?.width).toBeGreaterThan(0);
          const wide = await tab.evaluate(
            'document.documentElement.scrollWidth - document.documentElement.clientWidth',
          );
          expect(wide).toBeLessThanOrEqual(0);
          if (shots !== undefined) {
            await mkdir(shots, { recursive: true });
            await tab.screenshot({ path: join(shots, `report-${scheme}.png`), fullPage: true });
          }
        }
      } finally {
        await browser.close();
      }
    },
  );
});
