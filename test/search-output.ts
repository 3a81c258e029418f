/** `node test/search-output.ts FILE`: looks for secrets in what a test run printed, and says in how much. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { leakIn } from './leaks.ts';

const lines = process.argv.slice(2).flatMap((file) => readFileSync(file, 'utf8').split('\n'));
const leaks = lines.map(leakIn).filter((leak) => leak !== undefined);
process.stdout.write(`searched for secrets in ${lines.length} lines of output: ${leaks.length} found\n`);
for (const leak of leaks) process.stdout.write(`  ${leak}\n`);
process.exitCode = leaks.length === 0 ? 0 : 1;
