import { defineSource, endpointUrl, identityName, keyPrefix, type OptionProblem, problemsBy, z } from 'isthmus';
import { AzureBlobSource } from './source.ts';

const id = (what: string) =>
  z.string().regex(/^[0-9a-f-]{36}$/, `must be the id of ${what}: 00000000-0000-0000-0000-000000000000`);

export const azureBlob = defineSource({
  name: 'azure-blob',
  summary: 'Blobs of an Azure Storage container; the AWS role becomes an application of Entra ID, without a key.',
  stability: 'experimental',
  config: z
    .strictObject({
      account: z
        .string()
        .regex(/^[a-z0-9]{3,24}$/, 'must be the name of a storage account: 3 to 24 lower-case letters and digits')
        .describe('The storage account.'),
      container: z
        .string()
        .regex(/^[a-z0-9](?:-?[a-z0-9]){2,62}$/, 'must be the name of a container')
        .describe('The container.'),
      prefix: keyPrefix().default('').describe('Only blobs whose name begins with this. It is cut off.'),
      tenantId: id('an Entra tenant').optional().describe('Of the application. Without it: for public containers.'),
      clientId: id('an application').optional().describe('Of the application that trusts the AWS role.'),
      identity: identityName().optional().describe('An identity of kind `aws`. Default: the ambient credentials.'),
      endpoint: endpointUrl().optional().describe('Another server that speaks the protocol: Azurite.'),
    })
    .superRefine(
      problemsBy(function* ({ tenantId, clientId, endpoint }): Generator<OptionProblem> {
        if ((tenantId === undefined) !== (clientId === undefined))
          yield {
            path: [tenantId === undefined ? 'tenantId' : 'clientId'],
            message: 'is needed together with the other',
          };
        if (endpoint !== undefined && tenantId !== undefined)
          yield { path: ['endpoint'], message: 'would receive tokens: use it for public containers and Azurite' };
      }),
    ),
  identities: ['aws'],
  grants: ({ tenantId, identity }) =>
    tenantId === undefined
      ? []
      : [
          {
            cloud: 'aws',
            identity,
            actions: ['sts:GetWebIdentityToken'],
            resources: ['*'],
            reason: 'prove to Entra ID who it is',
          },
        ],
  create: (config, context) => new AzureBlobSource(config, context),
});
