import type { Failure } from './failure.ts';

/** What goes wrong with a token in hand, while setting up, and on the way from Google to AWS. */
export const USE_FAILURES = {
  USE_UNAUTHENTICATED: {
    step: 'source',
    code: 'unauthenticated',
    title: 'The API does not accept the token',
    cause: 'No token was sent, the API has no support for federated tokens, or the token was revoked.',
    fix: 'Name an identity of kind gcp on the source; set serviceAccount on it: an impersonated account works with every API.',
    said: /Anonymous caller does not have|Expected OAuth 2 access token, login cookie or other valid authentication credential|Invalid Credentials/i,
  },
  USE_PERMISSION: {
    step: 'source',
    code: 'permission_denied',
    title: 'The identity lacks a permission on the resource',
    cause: 'The role was granted to another principal, on another resource, or less than a minute ago.',
    fix: 'gcloud storage buckets add-iam-policy-binding gs://BUCKET --role=roles/storage.objectViewer --member="{member}" --condition=None',
    said: /does not have storage\.[a-z.]+ access|Permission 'storage\.[a-zA-Z.]+' denied/i,
  },
  USE_PROJECT_ID: {
    step: 'source',
    code: 'invalid_config',
    title: 'A Google client library does not know the project',
    cause: 'With federated credentials there is none to be detected; the number of the pool is not that of the data.',
    fix: 'Pass projectId to the client: new BigQuery({ projectId, authClient }).',
    said: /Unable to detect a Project Id in the current environment/i,
  },
  SETUP_CONDITION_CLAIMS: {
    step: 'config',
    code: 'invalid_config',
    title: 'The attribute condition names no claim of the issuer',
    cause: 'For an issuer that many tenants share Google wants a condition that pins one of them.',
    fix: 'Let the condition compare a claim of the token: --attribute-condition="assertion.sub==\'SUBJECT\'"',
    said: /attribute condition must reference one of the provider's claims/i,
  },
  SETUP_ORG_POLICY: {
    step: 'config',
    code: 'permission_denied',
    title: 'An organisation policy forbids the provider',
    cause:
      'constraints/iam.workloadIdentityPoolProviders or …AwsAccounts lists what is allowed, and this is not in it.',
    fix: 'An administrator adds the AWS account {awsAccount} to constraints/iam.workloadIdentityPoolAwsAccounts of the project.',
    said: /Org Policy violated for value|constraints\/iam\.workloadIdentityPool/i,
  },
  SETUP_EXISTS: {
    step: 'config',
    code: 'invalid_config',
    title: 'A pool or provider of this name exists already',
    cause: 'Deleted pools and providers keep their name for 30 days.',
    fix: 'gcloud iam workload-identity-pools undelete projects/{poolNumber}/locations/global/workloadIdentityPools/{pool}, then terraform import it; or use another name.',
    said: /Requested entity already exists/i,
  },
  GOOGLE_NOT_HERE: {
    step: 'google-identity',
    code: 'no_credentials',
    title: 'This is not Google Cloud',
    cause:
      'The metadata server does not answer, or something else does; a Google library looked for credentials there last.',
    fix: 'Use from: metadata only on Cloud Run, GKE and Compute Engine; on AWS leave `from` out and set audience. Give a Google library the credentials of isthmus/auth.',
    said: /not running on Google Cloud|metadata\.google\.internal|Could not load the default credentials|default credentials were not found/i,
  },
  GOOGLE_NO_IDENTITY: {
    step: 'google-identity',
    code: 'no_credentials',
    title: 'The metadata server gives this workload no identity',
    cause:
      'On GKE: the Kubernetes service account is not bound to a Google one. On Compute Engine: the machine has none attached.',
    fix: 'On GKE: kubectl annotate serviceaccount KSA iam.gke.io/gcp-service-account=EMAIL; on Compute Engine attach a service account.',
    said: /metadata server.*(?:HTTP 400|HTTP 404)|Unsuccessful response status code/i,
  },
  WEB_NO_PROVIDER: {
    step: 'google-to-aws',
    code: 'unauthenticated',
    title: 'AWS does not know the issuer of the token',
    cause:
      'The account has no IAM OIDC provider for it. For accounts.google.com it needs none, for a cluster of EKS it does.',
    fix: 'For a cluster: eksctl utils associate-iam-oidc-provider --cluster CLUSTER --approve. For Google check that the token is one of Google.',
    said: /No OpenIDConnect provider found in your account/i,
  },
  WEB_AUDIENCE: {
    step: 'google-to-aws',
    code: 'unauthenticated',
    title: 'AWS refuses the audience of the ID token',
    cause: 'An own IAM OIDC provider for accounts.google.com lists other audiences.',
    fix: 'Delete that provider, AWS knows Google by itself: aws iam delete-open-id-connect-provider --open-id-connect-provider-arn arn:aws:iam::{awsAccount}:oidc-provider/accounts.google.com',
    said: /Incorrect token audience/i,
  },
  WEB_NOT_VALIDATED: {
    step: 'google-to-aws',
    code: 'unauthenticated',
    title: 'AWS could not validate the ID token',
    cause: 'An own IAM OIDC provider for accounts.google.com hides the built-in one, or the token is not of Google.',
    fix: 'Delete that provider, AWS knows Google by itself: aws iam delete-open-id-connect-provider --open-id-connect-provider-arn arn:aws:iam::{awsAccount}:oidc-provider/accounts.google.com',
    said: /InvalidIdentityToken|web identity token provided could not be validated/i,
  },
  WEB_EXPIRED: {
    step: 'google-to-aws',
    code: 'unauthenticated',
    title: 'The ID token has expired',
    cause: 'A token that was fetched once and kept; or the clock is wrong.',
    fix: 'Let Isthmus fetch the token: it mints a new one each time. Check the clock: timedatectl status.',
    said: /ExpiredTokenException|ExpiredToken.*web identity|Token file expired/i,
  },
  WEB_DENIED: {
    step: 'google-to-aws',
    code: 'unauthenticated',
    title: 'The trust policy of the role does not accept this Google identity',
    cause:
      'It compares accounts.google.com:aud where accounts.google.com:oaud is needed, or another sub than the numeric id of the service account.',
    fix: 'Let the trust policy of {roleArn} compare accounts.google.com:oaud = {tokenAudience} and accounts.google.com:sub = {subject}; `isthmus auth setup` prints it.',
    said: /not authorized to perform:? sts:AssumeRoleWithWebIdentity/i,
  },
} as const satisfies Record<string, Failure>;
