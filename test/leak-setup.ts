import process from 'node:process';
import { searchForLeaks } from './leaks.ts';

/** Whatever a test, or what it tests, writes to the streams of its process is searched for secrets. */
for (const name of ['stdout', 'stderr'] as const) {
  const stream = process[name];
  const write = stream.write.bind(stream) as (...given: unknown[]) => boolean;
  stream.write = (...given: unknown[]): boolean => {
    searchForLeaks(
      name,
      typeof given[0] === 'string' ? given[0] : Buffer.from(given[0] as Uint8Array).toString('latin1'),
    );
    return write(...given);
  };
}
for (const name of ['log', 'info', 'warn', 'error', 'debug'] as const) {
  const write = console[name].bind(console);
  console[name] = (...given: unknown[]): void => {
    searchForLeaks(`console.${name}`, given.map(String).join(' '));
    write(...given);
  };
}
process.on('unhandledRejection', (reason) =>
  searchForLeaks('unhandled rejection', String((reason as Error)?.stack ?? reason)),
);
