/** `npm run bench:scale`: prints the tables of docs/scaling.md. */
import process from 'node:process';
import { scalingTables } from './scale-model.ts';

process.stdout.write(`${scalingTables()}\n`);
