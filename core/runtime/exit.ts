/** What a process ends with; documented in the README. */
export const EXIT = { complete: 0, failed: 1, invalid: 2, partial: 3, paused: 4 } as const;
