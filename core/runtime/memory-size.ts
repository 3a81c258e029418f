const MIB = 2 ** 20;
/** What the process takes besides `memory`; measured (docs/performance.md). */
const PROCESS_MIB = 120;
/** One part of a multipart upload. */
const LEAST = 8 * MIB;

/** How much of `memory` there is room for, in a function of so many MiB. */
export const memoryFor = (memory: number, memorySize: number): number =>
  Math.max(LEAST, Math.min(memory, (memorySize - PROCESS_MIB) * MIB));
