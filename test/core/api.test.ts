import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  backoffMs,
  combineCrc32c,
  compareKeys,
  compileGlob,
  EMPTY_CRC32C,
  ERROR_CODES,
  keyBefore,
  looksSecret,
  parseRetryAfter,
  safeText,
} from '../../core/api/index.ts';
import { crc32c } from '../cloud/body.ts';

describe('compareKeys', () => {
  it('orders as the UTF-8 bytes do', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 6 });
    fc.assert(
      fc.property(
        text,
        text,
        (a, b) => Math.sign(compareKeys(a, b)) === Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))),
      ),
      { numRuns: 2000 },
    );
  });

  it('puts what lies above U+FFFF last', () => {
    expect(compareKeys('\u{ff5e}', '\u{1f600}')).toBeLessThan(0);
  });
});

it('keyBefore sorts before its key', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), (key) => {
      const before = keyBefore(key);
      return before === undefined || (compareKeys(before, key) < 0 && before.isWellFormed());
    }),
  );
});

describe('combineCrc32c', () => {
  it('is the checksum of both parts together', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
        expect(combineCrc32c(crc32c(a), crc32c(b), b.length)).toBe(crc32c(Buffer.concat([a, b])));
      }),
    );
  });

  it('knows the check value and the empty sum', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(Buffer.from('e3069283', 'hex').toString('base64'));
    expect(crc32c(Buffer.alloc(0))).toBe(EMPTY_CRC32C);
  });
});

describe('compileGlob', () => {
  it.each([
    ['*.csv', ['a.csv', '.csv'], ['a/b.csv', 'a.csvx']],
    ['**.csv', ['a.csv', 'a/b.csv'], ['a.csv/x']],
    ['a/**/z', ['a/b/c/z', 'a//z'], ['a/z']],
    ['?[a-c][!x]', ['1ay'], ['1ax', '/ay', '1dy']],
    ['{a,b{1,2}}/*', ['a/x', 'b1/x', 'b2/x'], ['b/x', 'a/x/y']],
    ['a\\*b', ['a*b'], ['axb']],
    ['//a', ['//a'], ['/a', 'a']],
  ])('%s', (pattern, yes, no) => {
    const glob = compileGlob(pattern);
    for (const key of yes) expect(glob(key), key).toBe(true);
    for (const key of no) expect(glob(key), key).toBe(false);
  });

  it.each(['[a-', '{a', 'a}', 'a\\', '[z-a]'])('refuses %s', (pattern) => {
    expect(() => compileGlob(pattern)).toThrow();
  });

  it('takes linear time where a regular expression would take for ever', () => {
    expect(compileGlob(`${'**a'.repeat(30)}b`)('a'.repeat(1000))).toBe(false);
  });
});

describe('backoff', () => {
  const policy = { attempts: 5, baseDelayMs: 100, maxDelayMs: 5000 };

  it('doubles, jitters, and never passes its cap', () => {
    expect(backoffMs(policy, 1, 0, () => 1)).toBe(100);
    expect(backoffMs(policy, 4, 0, () => 0.5)).toBe(400);
    expect(backoffMs(policy, 50, 0, () => 1)).toBe(5000);
  });

  it('waits as long as the server asks, within the cap', () => {
    expect(backoffMs(policy, 1, 2000, () => 0)).toBe(2000);
    expect(backoffMs(policy, 1, 999_999_000, () => 0)).toBe(5000);
  });

  it.each([
    ['2', 2000],
    ['Thu, 01 Jan 1970 00:01:00 GMT', 50_000],
    ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
    ['garbage', undefined],
    [undefined, undefined],
  ])('reads Retry-After: %s', (value, expected) => {
    expect(parseRetryAfter(value, 10_000)).toBe(expected);
  });
});

describe('texts that are shown', () => {
  it.each([
    'ya29.a0AfH6SN-_x',
    'AKIAIOSFODNN7EXAMPLE',
    'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.sig',
    'GOOG1EXAMPLEXAMPLEXAMPLE00',
    '-----BEGIN PRIVATE KEY-----\nMII',
    'X-Amz-Signature=abcdef',
    'authorization: Bearer abc.def',
  ])('hide %s', (secret) => {
    expect(looksSecret(secret)).toBe(true);
    expect(safeText(`before ${secret} after`)).not.toContain(secret.slice(-8));
  });

  it('cannot write to the terminal', () => {
    expect(safeText('a\u001b[2Jb\nc\u202e')).toBe('a\\u001b[2Jb\\nc\\u202e');
  });
});

it('every error code says what happened, why, and what to do', () => {
  for (const [code, entry] of Object.entries(ERROR_CODES)) {
    for (const text of [entry.title, entry.cause, entry.fix]) expect(text.length, code).toBeGreaterThan(10);
    expect(entry.fix.endsWith('.'), code).toBe(true);
  }
});
