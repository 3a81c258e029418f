import type { JsonValue } from './json.ts';

export type Fields = Readonly<Record<string, JsonValue | undefined>>;

export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
}

/** What a process gives the engine. */
export interface Runtime {
  /** Ends everything at once: what is in flight is abandoned and tidied up. */
  readonly signal: AbortSignal;
  /**
   * Asks for a clean stop: nothing new is begun, what is in flight is finished, the checkpoint is saved. Whoever knows
   * when the platform ends the process asks for it in time.
   */
  readonly stop: AbortSignal;
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  now(): number;
}
