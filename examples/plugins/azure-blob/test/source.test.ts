import { createSource, localCloud, sourceSuite } from 'isthmus/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { azureBlob } from '../src/index.ts';
import { awsAssertion } from '../src/keyless.ts';
import { startAzurite } from './azurite.ts';

let azurite: Awaited<ReturnType<typeof startAzurite>>;
beforeAll(async () => {
  azurite = await startAzurite();
}, 60_000);
afterAll(() => azurite.stop());

const ORDER = 'Azurite sorts names by UTF-16; a run over names beyond the BMP would stop with list_order';

sourceSuite(
  'azure-blob on Azurite',
  async (objects) => {
    const container = await azurite.container();
    for (const [key, bytes] of Object.entries(objects)) await container.put(`in/${key}`, bytes);
    const { account, endpoint } = azurite;
    return {
      source: createSource(azureBlob, { account, endpoint, container: container.name, prefix: 'in/' }),
      remove: (key) => container.remove(`in/${key}`),
      replace: (key, bytes) => container.put(`in/${key}`, bytes),
      [Symbol.asyncDispose]: async () => {},
    };
  },
  {
    'lists every key once, in UTF-8 byte order': ORDER,
    'goes on after any key': ORDER,
    'goes on after a key that does not exist': ORDER,
  },
);

it('asks AWS for the token that Entra ID wants, signed as whoever runs it', async () => {
  await using cloud = await localCloud();
  const given = Promise.withResolvers<never>();
  const asked: typeof azureBlob = {
    ...azureBlob,
    create(config, context) {
      given.resolve(context as never);
      return azureBlob.create(config, context);
    },
  };
  createSource(asked, { account: 'acme', container: 'data' }, { cloud });
  const token = await awsAssertion(undefined, await given.promise, cloud.endpoints.awsSts);
  const [, claims = ''] = token.split('.');
  expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({ aud: 'api://AzureADTokenExchange' });
});
