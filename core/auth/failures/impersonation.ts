import type { Failure } from './failure.ts';

const BIND =
  'gcloud iam service-accounts add-iam-policy-binding {bindAccount} --project={bindProject} --role={bindRole} --member="{member}" --condition=None';

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
    fix: `gcloud iam service-accounts describe {serviceAccount} --project={bindProject}; if it was made anew, bind again: ${BIND}`,
    said: /Gaia id not found|Unknown service account/i,
  },
  IMP_DENIED: {
    step: 'impersonation',
    code: 'impersonation_denied',
    title: 'The service account may not be impersonated',
    cause:
      'The principal lacks {bindRole} on it: no binding, another attribute value, a wrong e-mail address, or a change less than five minutes old.',
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
