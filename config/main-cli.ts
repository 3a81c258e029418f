#!/usr/bin/env node
import process from 'node:process';
import { startCli } from '../core/cli/start.ts';
import { compose } from './composition.ts';
import { tokens } from './tokens.ts';

await startCli(() => compose(process.env).get(tokens.cli), process.argv);
