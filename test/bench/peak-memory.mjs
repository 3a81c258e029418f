/** Loaded before a measured process: writes its CPU time and peak memory to descriptor 3 when it ends. */
import { writeSync } from 'node:fs';
import process from 'node:process';

const KIB = 1024;

process.on('exit', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  writeSync(3, JSON.stringify({ cpuMs: (userCPUTime + systemCPUTime) / 1000, peakMiB: maxRSS / KIB }));
});
