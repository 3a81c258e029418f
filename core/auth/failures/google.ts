import type { Failure } from './failure.ts';

const DESCRIBE =
  'gcloud iam workload-identity-pools providers describe {provider} --workload-identity-pool={pool} --location=global --project={poolNumber}';
const UPDATE = DESCRIBE.replace(' describe ', ' {updateProvider} ');

/** What Google's token service says. The order counts: the first whose words fit. */
export const STS_FAILURES = {
  STS_AUDIENCE_INVALID: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The audience is not the name of a provider',
    cause: 'The name of a pool, an unresolved variable, another host, or a path of attributes.',
    fix: 'Set audience to what this prints, with // instead of https://: gcloud iam workload-identity-pools providers describe {provider} --workload-identity-pool={pool} --location=global --project={poolNumber} --format="value(name)"',
    said: /Invalid value for "?audience"?/i,
  },
  STS_TARGET_INVALID: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The pool or provider does not exist, is disabled or was deleted',
    cause: 'A wrong project number, pool or provider; or it was deleted, and stays so for 30 days.',
    fix: `Look at it: ${DESCRIBE}. If its state is DELETED: ${DESCRIBE.replace(' describe ', ' undelete ')}`,
    said: /target service indicated by the "audience" parameters is invalid/i,
  },
  STS_ATTRIBUTE_CONDITION: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The attribute condition of the provider rejects this identity',
    cause: 'The condition names another account or role than this process runs as ({arn}).',
    fix: `Let the condition accept it: ${UPDATE} --attribute-condition="{condition}"`,
    said: /rejected by the attribute condition/i,
  },
  STS_SUBJECT_NOT_STRING: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The mapping of google.subject yields no text',
    cause: 'The expression gives a bool or a list.',
    fix: `${UPDATE} --attribute-mapping="{mapping}"`,
    said: /mapped attribute '?google\.subject'? must be of type STRING/i,
  },
  STS_SUBJECT_TOO_LONG: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The mapped google.subject is longer than 127 bytes',
    cause: 'The provider maps assertion.arn, and role and session names are long.',
    fix: `Map the user id, which never exceeds 86 bytes: ${UPDATE} --attribute-mapping="{mapping}"`,
    said: /exceeds the 127 bytes limit/i,
  },
  STS_CLOCK: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The clock of this machine is wrong by more than 15 minutes',
    cause:
      'AWS refuses a signature that is too old or from the future, and the correction by the `Date` header did not help.',
    fix: 'Set the clock: timedatectl set-ntp true, or restart the virtual machine.',
    said: /Signature (?:expired|not yet current)/i,
  },
  STS_AWS_TOKEN_EXPIRED: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The AWS credentials have expired',
    cause: 'They were copied into the environment once, and nothing renews them.',
    fix: 'Use a source that renews them: a role, a profile or SSO, not copied variables.',
    said: /type ExpiredToken|security token included in the request is expired/i,
  },
  STS_AWS_TOKEN_UNKNOWN: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'AWS does not know these credentials',
    cause: 'A missing or wrong session token, a deleted key, or a token of the global endpoint in an opt-in region.',
    fix: 'Ask AWS itself: aws sts get-caller-identity. If that works in {region} only, set region on the identity of kind aws.',
    said: /InvalidClientTokenId|security token included in the request is invalid/i,
  },
  STS_TARGET_HEADER: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The signed request is for another provider',
    cause: 'The header x-goog-cloud-target-resource is missing, unsigned, or names another provider than audience.',
    fix: 'Set audience to the provider that this request is for; nothing on the way may rewrite the request.',
    said: /x-goog-cloud-target-resource/i,
  },
  STS_SIGNATURE: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'AWS refuses the signature',
    cause:
      'The secret key is not that of the access key, a header was altered on the way, or the region is not the one that was signed for.',
    fix: 'Ask AWS itself: aws sts get-caller-identity --region {region}. If that works, look for a proxy that changes headers.',
    said: /SignatureDoesNotMatch/i,
  },
  STS_FORMAT: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The subject token is not what Google expects for AWS',
    cause: 'It is not URL-encoded JSON, or the provider is of kind OIDC and not of kind AWS.',
    fix: `Look which it is: ${DESCRIBE}. For an OIDC provider set from: aws-token or kubernetes-token on the identity.`,
    said: /Invalid format of AWS credentials/i,
  },
  STS_TOKEN_FORMAT: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The provider does not take this kind of subject token',
    cause: 'The provider trusts AWS, and was given a JWT; or its issuer or audience is another than the token names.',
    fix: `Compare issuer and audiences: ${DESCRIBE}. For a provider of kind AWS set from: aws-signature on the identity.`,
    said: /issuer in ID Token|audience in ID Token|ID Token (?:issued at|is|.* stale)|subject_token_type|Unable to parse the ID Token|Error parsing ID Token/i,
  },
  STS_ISSUER_UNREACHABLE: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'Google cannot reach the issuer of the token',
    cause: 'The OIDC issuer is not public, or its certificate is not trusted.',
    fix: "Make the issuer's /.well-known/openid-configuration public, or upload its keys: gcloud iam workload-identity-pools providers update-oidc {provider} --workload-identity-pool={pool} --location=global --project={poolNumber} --jwk-json-path=FILE",
    said: /Error connecting to the given credential's issuer/i,
  },
  STS_SCOPE_MISSING: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'No scope was asked for',
    cause: 'A plugin asks for a token without any scope.',
    fix: 'Give the plugin a scope, for example https://www.googleapis.com/auth/cloud-platform.',
    said: /Scope\(s\) must be provided/i,
  },
  STS_THROTTLED: {
    step: 'google-sts',
    code: 'throttled',
    title: 'Too many token exchanges',
    cause: 'Many cold starts at once, in one pool project.',
    fix: 'Start fewer at once, or raise the quota of sts.googleapis.com in project {poolNumber}. One process makes one exchange an hour.',
    said: /throttled due to rate limit: sts\.googleapis\.com|quota_exceeded/i,
  },
  STS_API_DISABLED: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'The Security Token Service API is off in the project of the pool',
    cause: 'It was never enabled there.',
    fix: 'gcloud services enable sts.googleapis.com --project={poolNumber}',
    said: /Security Token Service API has not been used/i,
  },
  STS_NOT_GOOGLE: {
    step: 'google-sts',
    code: 'bad_response',
    title: 'Something else answers instead of Google',
    cause: 'A proxy or a captive portal: the answer is not the JSON of a token service.',
    fix: 'Let this machine reach sts.googleapis.com:443 directly, or set HTTPS_PROXY with NODE_USE_ENV_PROXY=1.',
    said: /Error code undefined/,
  },
  STS_NO_TOKEN: {
    step: 'google-sts',
    code: 'bad_response',
    title: 'The token service answered 200 without a usable token',
    cause: 'A proxy answers, or the answer lacks access_token or expires_in.',
    fix: 'Let this machine reach sts.googleapis.com:443 directly; look at what a proxy answers there.',
  },
  STS_REFUSED: {
    step: 'google-sts',
    code: 'unauthenticated',
    title: 'Google refused the exchange',
    cause: 'For a reason that this release does not know.',
    fix: `Read the message, and look at the provider: ${DESCRIBE}`,
  },
  DOWNSCOPE_REFUSED: {
    step: 'downscoping',
    code: 'unauthenticated',
    title: 'Google refused to limit the token to the bucket',
    cause:
      'A credential access boundary needs a bucket with uniform bucket-level access, and a token of the scope cloud-platform.',
    fix: 'gcloud storage buckets update gs://BUCKET --uniform-bucket-level-access, or remove downscope from the identity.',
  },
} as const satisfies Record<string, Failure>;

const BIND =
  'gcloud iam service-accounts add-iam-policy-binding {serviceAccount} --role=roles/iam.workloadIdentityUser --member="{member}"';

/** What iamcredentials says. */
export const IMPERSONATION_FAILURES = {
  IMP_OPENID_DENIED: {
    step: 'impersonation',
    code: 'impersonation_denied',
    title: 'No ID token may be made for the service account',
    cause: 'The principal lacks iam.serviceAccounts.getOpenIdToken on it.',
    fix: BIND,
    said: /iam\.serviceAccounts\.getOpenIdToken/i,
  },
  IMP_USER_PROJECT: {
    step: 'impersonation',
    code: 'impersonation_denied',
    title: 'The quota project was refused',
    cause: 'Something on the way adds x-goog-user-project, or the caller may not use that project.',
    fix: 'gcloud projects add-iam-policy-binding {project} --role=roles/serviceusage.serviceUsageConsumer --member="{member}", and let nothing add that header to token requests.',
    said: /Caller does not have required permission to use project/i,
  },
  IMP_API_DISABLED: {
    step: 'impersonation',
    code: 'impersonation_denied',
    title: 'The IAM Service Account Credentials API is off',
    cause: 'It was never enabled in the project of the service account.',
    fix: 'gcloud services enable iamcredentials.googleapis.com --project={project}',
    said: /IAM Service Account Credentials API has not been used/i,
  },
  IMP_LIFETIME: {
    step: 'impersonation',
    code: 'invalid_config',
    title: 'The token may not live so long',
    cause: 'More than an hour needs an organisation policy that allows it for this account.',
    fix: 'Set lifetime: 1h on the identity, or allow the account in constraints/iam.allowServiceAccountCredentialLifetimeExtension.',
    said: /access token lifetime cannot exceed/i,
  },
  IMP_ACCOUNT_MISSING: {
    step: 'impersonation',
    code: 'impersonation_denied',
    title: 'The service account does not exist',
    cause: 'A typing error, or it was deleted; bindings do not follow a new account with the same name.',
    fix: `gcloud iam service-accounts describe {serviceAccount}; if it was made anew, bind again: ${BIND}`,
    said: /Gaia id not found|Unknown service account/i,
  },
  IMP_DENIED: {
    step: 'impersonation',
    code: 'impersonation_denied',
    title: 'The service account may not be impersonated',
    cause:
      'The principal lacks roles/iam.workloadIdentityUser on it: no binding, another attribute value, a wrong e-mail address, or a change less than five minutes old.',
    fix: BIND,
    said: /iam\.serviceAccounts\.(?:getAccessToken|implicitDelegation)|unable to impersonate|Unable to acquire impersonated credentials/i,
  },
  IMP_INVALID_ARGUMENT: {
    step: 'impersonation',
    code: 'invalid_config',
    title: 'iamcredentials refuses the request as malformed',
    cause: 'A scope, lifetime or delegate that it does not know.',
    fix: 'Check lifetime and delegates of the identity: lifetime is 10m to 12h, delegates are e-mail addresses.',
    said: /Request contains an invalid argument/i,
  },
  IMP_NO_TOKEN: {
    step: 'impersonation',
    code: 'bad_response',
    title: 'iamcredentials answered 200 without a usable token',
    cause: 'A proxy answers, or accessToken or expireTime is missing.',
    fix: 'Let this machine reach iamcredentials.googleapis.com:443 directly.',
  },
  IMP_REFUSED: {
    step: 'impersonation',
    code: 'impersonation_denied',
    title: 'Google refused to impersonate the service account',
    cause: 'For a reason that this release does not know.',
    fix: `Read the message. If a right is missing: ${BIND}`,
  },
} as const satisfies Record<string, Failure>;
