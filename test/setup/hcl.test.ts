import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { list, map, render, text } from '../../core/setup/hcl.ts';

describe('HCL', () => {
  it('quotes whatever a text holds', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('${', '%{', '$', '%', '{', '"', '\\', 'x', '\n')).map((parts) => parts.join('')),
        (value) => {
          const quoted = text(value);
          // As HCL reads it: `$${` is a literal `${`, and a `${` that is left would begin a template.
          const literal = quoted.replaceAll('$${', '<dollar>').replaceAll('%%{', '<percent>');
          expect(literal).not.toMatch(/[$%]\{/);
          expect(JSON.parse(literal.replaceAll('<dollar>', () => '${').replaceAll('<percent>', '%{'))).toBe(value);
        },
      ),
    );
  });

  it('puts equals signs of adjoining lines in one column', () => {
    expect(
      render([
        {
          block: 'resource',
          labels: ['a', 'b'],
          body: [
            ['x', '1'],
            ['long', '2'],
            ['many', list(['1', '2'])],
            ['map', map({ a: '1', 'b.c': '2' })],
          ],
        },
      ]),
    ).toBe(
      'resource "a" "b" {\n  x    = 1\n  long = 2\n\n  many = [\n    1,\n    2,\n  ]\n\n  map = {\n    "a"   = 1\n    "b.c" = 2\n  }\n}\n',
    );
  });
});
