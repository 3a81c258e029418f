#!/usr/bin/env node
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';

// Bodies pass through as short-lived chunks: a young generation that stays small frees them early. A third less memory,
// measured (docs/performance.md), and faster. In a running process the second flag is the one that counts.
setFlagsFromString('--max-semi-space-size=1');
setFlagsFromString('--semi-space-growth-factor=1');
// The old generation is collected before it has doubled: a fifth less memory, at next to no cost.
setFlagsFromString('--heap-growing-percent=50');

// A third off the start, from the second time on. In the user's own folder: whoever could write there could run code.
enableCompileCache(join(homedir(), '.cache', 'isthmus'));

const [{ startCli }, { compose }, { tokens }] = await Promise.all([
  import('../core/cli/start.ts'),
  import('./composition.ts'),
  import('./tokens.ts'),
]);
await startCli(() => compose(process.env).get(tokens.cli), process.argv);
