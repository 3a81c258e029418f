import process from 'node:process';
import { LocalAwsSts } from './aws-sts.ts';
import { LocalBigQuery } from './bigquery/bigquery.ts';
import { LocalGcs } from './gcs.ts';
import { LocalGoogleCerts } from './google-certs.ts';
import { LocalGoogleSts } from './google-sts.ts';
import { LocalIamCredentials } from './iam-credentials.ts';
import { LocalKms } from './kms.ts';
import { LocalLambda } from './lambda.ts';
import { LocalContainer, LocalGoogleMetadata, LocalImds, LocalSso } from './metadata.ts';
import { OidcIssuer } from './oidc.ts';
import { type AwsPrincipal, type GoogleToken, googleTokenText, roleSession } from './principals.ts';
import { LocalS3 } from './s3.ts';
import { LocalVertexAi } from './vertexai/vertexai.ts';

/** The workload identity provider that the local cloud begins with. */
export const LOCAL_AUDIENCE =
  '//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers/isthmus';
export const LOCAL_SERVICE_ACCOUNT = 'exports-reader@acme.iam.gserviceaccount.com';
export const LOCAL_ROLE = 'exports';

/**
 * Google Cloud and AWS on loopback, strict enough to catch our mistakes: signatures, audiences, checksums and
 * preconditions are verified. One role session of AWS, one provider that trusts the role, one service account that
 * the role may impersonate.
 */
export interface LocalCloud extends AsyncDisposable {
  readonly awsSts: LocalAwsSts;
  readonly googleSts: LocalGoogleSts;
  readonly iamCredentials: LocalIamCredentials;
  readonly gcs: LocalGcs;
  readonly bigquery: LocalBigQuery;
  readonly vertexai: LocalVertexAi;
  readonly s3: LocalS3;
  readonly kms: LocalKms;
  /** What hands out the AWS session on EC2, on ECS and EKS, and to an SSO profile. */
  readonly imds: LocalImds;
  readonly container: LocalContainer;
  readonly sso: LocalSso;
  /** The metadata server of Google Cloud, for workloads that run there. */
  readonly googleMetadata: LocalGoogleMetadata;
  /** The keys of Google's ID tokens, and the Lambda that a function calls itself at. */
  readonly googleCerts: LocalGoogleCerts;
  readonly lambda: LocalLambda;
  /** The issuer of Google's ID tokens, and that of a Kubernetes cluster. */
  readonly google: OidcIssuer;
  readonly cluster: OidcIssuer;
  /** The session that a Lambda with the role would have. */
  readonly session: AwsPrincipal;
  /** A token of Google for a principal, as if it had been exchanged. */
  tokenFor(principal: string): string;
  /** Base URLs, in the form in which a process is told of them (`ISTHMUS_ENDPOINTS`). */
  readonly endpoints: Readonly<
    Record<
      | 'awsSts'
      | 'googleSts'
      | 'iamCredentials'
      | 'googleMetadata'
      | 'gcs'
      | 'bigquery'
      | 'vertexai'
      | 's3'
      | 'kms'
      | 'googleCerts'
      | 'lambda',
      string
    >
  >;
  /** Whom the local AWS knows, by the id of the key; others may be added. */
  readonly principals: Map<string, AwsPrincipal>;
  /** The environment of a Lambda that runs as the role against this cloud. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface LocalCloudOptions {
  /** Milliseconds since the epoch; for tests of clocks. */
  readonly now?: () => number;
}

/** Starts the local cloud; dispose it (`await using`) to stop it. */
export async function localCloud({ now = Date.now }: LocalCloudOptions = {}): Promise<LocalCloud> {
  const principals = new Map<string, AwsPrincipal>();
  const tokens = new Map<string, GoogleToken>();
  const session = roleSession(LOCAL_ROLE, 'isthmus-local');
  principals.set(session.accessKeyId, session);

  const awsSts = await new LocalAwsSts(principals, now).start();
  const googleSts = await new LocalGoogleSts(tokens, principals, now).start();
  const google = new OidcIssuer('https://accounts.google.com', now);
  const cluster = new OidcIssuer('https://oidc.eks.eu-west-1.amazonaws.com/id/LOCAL', now);
  const iamCredentials = await new LocalIamCredentials(tokens, google, now).start();
  const imds = await new LocalImds(session).start();
  const container = await new LocalContainer(session).start();
  const sso = await new LocalSso(session).start();
  const googleMetadata = await new LocalGoogleMetadata(tokens, google, LOCAL_SERVICE_ACCOUNT, now).start();
  const gcs = await new LocalGcs(tokens, now).start();
  const bigquery = await new LocalBigQuery(tokens, gcs, now).start();
  const vertexai = await new LocalVertexAi(tokens, gcs, now).start();
  const s3 = await new LocalS3(principals, now).start();
  const kms = await new LocalKms(principals, now).start();
  const googleCerts = await new LocalGoogleCerts(google).start();
  const lambda = await new LocalLambda(principals, now).start();

  googleSts.providers.push({ audience: LOCAL_AUDIENCE, awsAccountId: session.account, roleName: LOCAL_ROLE });
  const pool = LOCAL_AUDIENCE.replace(/\/providers\/.*/, '');
  iamCredentials.workloadIdentityUsers.set(LOCAL_SERVICE_ACCOUNT, `principal:${pool}/`);
  const endpoints = {
    awsSts: awsSts.url,
    googleSts: googleSts.url,
    iamCredentials: iamCredentials.url,
    googleMetadata: googleMetadata.url,
    gcs: gcs.url,
    bigquery: bigquery.url,
    vertexai: vertexai.url,
    s3: s3.url,
    kms: kms.url,
    googleCerts: googleCerts.url,
    lambda: lambda.url,
  };
  const servers = {
    awsSts,
    googleSts,
    iamCredentials,
    gcs,
    bigquery,
    vertexai,
    s3,
    kms,
    imds,
    container,
    sso,
    googleMetadata,
    googleCerts,
    lambda,
  };
  return {
    ...servers,
    google,
    cluster,
    session,
    tokenFor(principal) {
      const token = googleTokenText('d');
      const scopes = ['https://www.googleapis.com/auth/cloud-platform'];
      tokens.set(token, { principal, scopes, expiresAt: now() + 3_600_000 });
      return token;
    },
    endpoints,
    principals,
    environment: {
      ISTHMUS_ENDPOINTS: JSON.stringify(endpoints),
      // Whoever runs the tests by the other transport means all of them.
      ...(process.env.ISTHMUS_TRANSPORT === undefined ? {} : { ISTHMUS_TRANSPORT: process.env.ISTHMUS_TRANSPORT }),
      AWS_ACCESS_KEY_ID: session.accessKeyId,
      AWS_SECRET_ACCESS_KEY: session.secretAccessKey,
      AWS_SESSION_TOKEN: session.sessionToken ?? '',
      AWS_REGION: 'eu-west-1',
      AWS_LAMBDA_FUNCTION_NAME: 'isthmus-local',
      AWS_EC2_METADATA_DISABLED: 'true',
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(Object.values(servers).map((server) => server[Symbol.asyncDispose]()));
    },
  };
}
