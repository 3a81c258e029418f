import { describe, expect, it } from 'vitest';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { functionOn, testFunction } from '../lambda/function.ts';
import { FIELDS, ROWS } from '../plugins/bigquery-cloud.ts';
import { distributed, drive, type Json } from './driver.ts';

const source = (more: Json = {}) => ({
  use: 'bigquery',
  with: { identity: 'reader', project: 'acme-data', table: 'sales.orders', wait: '0s', ...more },
});
const STAGED = { staging: { bucket: 'staging' } };

async function exporting(data = distributed({ source: source(STAGED) })) {
  const made = await testFunction(data);
  made.cloud.bigquery.users.add(LOCAL_SERVICE_ACCOUNT);
  const staging = made.cloud.gcs.bucket('staging', [LOCAL_SERVICE_ACCOUNT], [LOCAL_SERVICE_ACCOUNT]);
  made.cloud.bigquery.dataset('acme-data', 'sales').table('orders', { fields: FIELDS, rows: ROWS });
  return Object.assign(made, { staging });
}

describe('an export of BigQuery, distributed', () => {
  it('waits for its job, is carried by children that never listed it, and tidied up at the end', async () => {
    const data = distributed({ source: source(STAGED) });
    await using fn = await exporting(data);
    fn.cloud.bigquery.asksUntilDone = 2;
    // Each invocation in an environment of its own: nothing of the listing is known to the next.
    const fresh = { state: fn.state, invoke: (event: unknown) => functionOn(fn.cloud, data).invoke(event) };
    const { finished } = await drive(fresh);
    expect(finished).toMatchObject({
      outcome: 'complete',
      items: { written: 2, failed: 0 },
      details: [{ facts: { engine: 'extract', files: 1 } }],
    });
    expect([...fn.staging.from('')]).toEqual([]);
    // What it has noted was moved on: the next run begins another export.
    const next = await drive(fresh);
    expect(next.finished).toMatchObject({ outcome: 'complete' });
    expect(fn.cloud.bigquery.jobs.size).toBe(2);
  });

  it('without staging is refused: its rows can be read only where it was begun', async () => {
    await using fn = await exporting(distributed({ source: source() }));
    await expect(drive(fn)).rejects.toThrow('BigQuery can be distributed with a `staging` bucket');
    expect(fn.sink.objects.size).toBe(0);
  });
});
