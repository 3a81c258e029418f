import { ClientAssertionCredential } from '@azure/identity';
import { AwsSigner, BrokerError, type PluginContext } from 'isthmus';

/** What a federated credential of Entra ID asks for as its audience. */
const AUDIENCE = 'api://AzureADTokenExchange';
const LONGEST = 64 * 1024;

/**
 * An application of Entra ID that trusts the AWS role: AWS signs a token that says who it is, Entra gives one of its own
 * for it. Neither is stored.
 *
 * Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html,
 * https://learn.microsoft.com/entra/workload-id/workload-identity-federation
 */
export const keylessCredential = (
  tenantId: string,
  clientId: string,
  identity: string | undefined,
  context: PluginContext,
): ClientAssertionCredential =>
  new ClientAssertionCredential(tenantId, clientId, () => awsAssertion(identity, context));

/** A token of AWS for whoever runs this. @param sts another address of AWS STS; for tests. */
export async function awsAssertion(
  identity: string | undefined,
  context: PluginContext,
  sts?: string,
): Promise<string> {
  const region = (await context.credentials.awsRegion()) ?? 'us-east-1';
  const signal = AbortSignal.timeout(30_000);
  const credentials = await context.credentials.aws(identity).get({ signal });
  const origin = sts ?? `https://sts.${region}.amazonaws.com`;
  const body = Buffer.from(
    new URLSearchParams({
      Action: 'GetWebIdentityToken',
      Version: '2011-06-15',
      'Audience.member.1': AUDIENCE,
      SigningAlgorithm: 'RS256',
      DurationSeconds: '300',
    }).toString(),
  );
  const headers: Record<string, string> = {
    host: new URL(origin).host,
    'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
  };
  const payloadHash = Buffer.from(await crypto.subtle.digest('SHA-256', body)).toString('hex');
  const parts = { method: 'POST', path: '/', query: '', headers, payloadHash };
  new AwsSigner(region, 'sts').sign(parts, credentials, context.now());
  using transport = context.transport();
  const answer = await transport.request({ method: 'POST', origin, path: '/', headers, body, signal });
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer.body) {
    bytes += chunk.byteLength;
    if (bytes > LONGEST) throw new BrokerError('bad_response', 'the answer of AWS STS is too long');
    chunks.push(Buffer.from(chunk));
  }
  const token = /<WebIdentityToken>([^<]+)<\/WebIdentityToken>/.exec(Buffer.concat(chunks).toString())?.[1];
  if (answer.status === 200 && token !== undefined) return token;
  throw new BrokerError('unauthenticated', `sts:GetWebIdentityToken: HTTP ${answer.status}`, {
    hint: 'Let the account give out tokens (aws iam enable-outbound-web-identity-federation), and allow sts:GetWebIdentityToken to the role.',
  });
}
