import { AsyncLocalStorage } from 'node:async_hooks';
import type { JsonValue } from '../api/json.ts';
import type { Fields, Logger } from '../api/runtime.ts';
import { safeText } from '../api/text.ts';

export type Level = 'debug' | 'info' | 'warn';
export type Write = (line: string) => void;

/** What every line says besides, while something is under way: run id, pipeline, request id. */
export const logFields = new AsyncLocalStorage<Record<string, JsonValue | undefined>>();

/** One JSON line an event: `{"time":…,"level":…,"event":…, …}`. Texts are made safe, so no secret by shape gets out. */
export function jsonLogger(write: Write, now: () => number, least: Level = 'info'): Logger {
  return logger(least, (level, event, fields) => {
    const safe = Object.entries({ ...logFields.getStore(), ...fields }).map(([name, value]) => [
      name,
      typeof value === 'string' ? safeText(value) : value,
    ]);
    write(JSON.stringify({ time: new Date(now()).toISOString(), level, event, ...Object.fromEntries(safe) }));
  });
}

/** Plain lines for people. */
export function textLogger(write: Write, least: Level = 'warn'): Logger {
  return logger(least, (level, event, fields) => {
    const told = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}=${safeText(String(value))}`);
    write([`${level}:`, event, ...told].join(' '));
  });
}

const ORDER: readonly Level[] = ['debug', 'info', 'warn'];

function logger(least: Level, emit: (level: Level, event: string, fields: Fields) => void): Logger {
  const at =
    (level: Level) =>
    (event: string, fields: Fields = {}): void => {
      if (ORDER.indexOf(level) >= ORDER.indexOf(least)) emit(level, event, fields);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn') };
}
