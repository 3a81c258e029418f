import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { MATRIX, type Row } from './matrix.ts';

const root = join(import.meta.dirname, '../..');

const line = ({ id, fault, promise, tests, note }: Row): string => {
  const shown = tests.map(
    ([file, title]) => `${title.replaceAll('|', '\\|')} ([${file.split('/').at(-1)}](../${file}))`,
  );
  return `| ${id} | ${fault} | ${promise}${note === undefined ? '' : ` (${note})`} | ${shown.join('<br>')} |`;
};

const page = (): string => `# What goes wrong, and what happens then

Each line is a fault, what is promised under it, and the tests that commit the fault and look; nearly all of them run in \`npm test\`, against local
servers that speak the protocols. A test checks that each test named here exists. Generated from [test/faults/matrix.ts](../test/faults/matrix.ts).

Besides, in each test run: random faults at every boundary for 60 seconds, processes that die in between, and an oracle that compares the sink
with the source byte for byte and looks for uploads and state that were left ([soak.ts](../test/faults/soak.ts), \`npm run soak -- --seconds 3600 --seed 7\`); real
processes that are killed (SIGKILL) again and again ([killed.test.ts](../test/faults/killed.test.ts)); and a process that dies before and after
each of its requests ([every-step.test.ts](../test/faults/every-step.test.ts)). A failure prints its seed; \`SOAK_SEED\` brings it back.

| | fault | promise | tests |
|---|---|---|---|
${MATRIX.map(line).join('\n')}

Those of [distributed.test.ts](../test/compat/step-functions/distributed.test.ts) run in \`npm run test:compat\`, on an interpreter of state machines.
`;

it.each(MATRIX)('$id, $fault: the tests that are named exist', async ({ tests }) => {
  for (const [file, title] of tests) {
    const text = await readFile(join(root, file), 'utf8');
    const written = [title, title.replaceAll("'", "\\'")];
    expect(
      written.some((one) => text.includes(one)),
      `${file}: ${title}`,
    ).toBe(true);
  }
});

it('the page is up to date (UPDATE_MATRIX=1 writes it)', async () => {
  const file = join(root, 'docs/faults.md');
  if (process.env.UPDATE_MATRIX === '1') await writeFile(file, page());
  expect(await readFile(file, 'utf8')).toBe(page());
});
