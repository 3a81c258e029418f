import { describe, expect, it } from 'vitest';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { FIELDS, ROWS } from '../plugins/bigquery-cloud.ts';
import { functionOn, pipelineData, testFunction } from './function.ts';

const source = {
  use: 'bigquery',
  with: { identity: 'reader', project: 'acme-data', table: 'sales.orders', staging: { bucket: 'staging' }, wait: '0s' },
};

async function exporting() {
  const identities = { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } };
  const made = await testFunction(pipelineData({ identities, source, deploy: { continue: 'self' } }));
  made.cloud.bigquery.users.add(LOCAL_SERVICE_ACCOUNT);
  made.cloud.gcs.bucket('staging', [LOCAL_SERVICE_ACCOUNT], [LOCAL_SERVICE_ACCOUNT]);
  made.cloud.bigquery.dataset('acme-data', 'sales').table('orders', { fields: FIELDS, rows: ROWS });
  return made;
}

describe('a function whose source waits for a job', () => {
  it('pauses without calling itself, says when to come back, and goes on with the tick', async () => {
    await using made = await exporting();
    made.cloud.bigquery.asksUntilDone = 2;
    const scheduled = await made.invoke({ source: 'aws.events', 'detail-type': 'Scheduled Event' });
    expect(scheduled).toMatchObject({
      outcome: 'paused',
      error: { code: 'pending', retryAfterMs: 10_000 },
      resume: { hop: 1 },
    });
    expect(made.cloud.lambda.requests).toEqual([]);
    expect(await made.invoke({ resume: 'paused' })).toMatchObject({ outcome: 'paused' });
    const last = await made.invoke({ resume: 'paused' });
    expect(last).toMatchObject({
      outcome: 'complete',
      items: { written: 2 },
      details: [{ facts: { engine: 'extract', files: 1 } }],
    });
    expect(made.cloud.bigquery.jobs.size).toBe(1);
  });

  it('does nothing with a tick when no run is paused, and touches neither cloud but its state', async () => {
    await using made = await exporting();
    expect(await made.invoke({ resume: 'paused' })).toEqual({
      outcome: 'ignored',
      message: 'no run is paused',
      pipeline: 'exports',
    });
    expect(made.cloud.bigquery.requests).toEqual([]);
    expect(made.cloud.s3.requests.every(({ target }) => target.startsWith('/state'))).toBe(true);
  });

  it('leaves a run that failed to whoever looks at it: no tick begins its job again', async () => {
    await using made = await exporting();
    made.cloud.bigquery.failures.push({ reason: 'resourcesExceeded', message: 'too much' });
    await expect(made.invoke({})).rejects.toThrow('resourcesExceeded');
    for (let tick = 0; tick < 3; tick++)
      expect(await made.invoke({ resume: 'paused' })).toMatchObject({ outcome: 'ignored' });
    expect(made.cloud.bigquery.jobs.size).toBe(1);
    expect(await made.invoke({})).toMatchObject({ outcome: 'paused' });
  });

  it('goes on with the same run when only the limits of its source were changed', async () => {
    await using made = await exporting();
    made.cloud.bigquery.dataset('acme-data', 'sales').table('orders', { fields: FIELDS, rows: ROWS, bytes: 2 ** 40 });
    const limited = (maxBytesBilled: string) => {
      const query = 'SELECT * FROM `acme-data.sales.orders`';
      const given = {
        identity: 'reader',
        project: 'acme-data',
        query,
        staging: { bucket: 'staging' },
        wait: '0s',
        maxBytesBilled,
      };
      const identities = { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } };
      return functionOn(made.cloud, pipelineData({ identities, source: { use: 'bigquery', with: given } }));
    };
    await expect(limited('1GiB').invoke({})).rejects.toThrow('Query exceeded limit for bytes billed');
    const raised = limited('2TiB');
    expect(await raised.invoke({})).toMatchObject({ outcome: 'paused' });
    expect(await raised.invoke({})).toMatchObject({ outcome: 'complete' });
  });
});
