import { describe, expect, it } from 'vitest';
import { LOCAL_SERVICE_ACCOUNT, localCloud } from '../../cloud/local-cloud.ts';
import { distributed } from '../../distributed/driver.ts';
import { needed } from '../fixtures.ts';
import { startEngine } from './engine.ts';
import { deploy } from './function.ts';

describe('the state machine on a Step Functions interpreter', () => {
  it('plans, transfers and finishes', async () => {
    await using cloud = await localCloud();
    const source = cloud.gcs.bucket('exports', [LOCAL_SERVICE_ACCOUNT]);
    const sink = cloud.s3.bucket('lake');
    cloud.s3.bucket('state');
    for (let index = 0; index < 95; index++) source.put(`2026/${index}`, `item ${index}`);
    await using deployed = await deploy(distributed(), cloud.environment);
    await using engine = await startEngine({
      python: needed('COMPAT_STEP_FUNCTIONS'),
      cloud,
      invoke: (event) => deployed.invoke(event),
    });
    const execution = await engine.run(deployed.definition);
    console.log(
      execution.error,
      execution.cause,
      execution.items,
      JSON.stringify(execution.events.slice(-14), null, 0).slice(0, 6000),
    );
    expect(execution.status).toBe('SUCCEEDED');
    expect(sink.objects.size).toBe(95);
  });
});
