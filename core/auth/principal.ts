/** A workload identity provider, taken apart. */
export interface ProviderName {
  readonly projectNumber: string;
  readonly pool: string;
  readonly provider: string;
}

/** `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER` */
export const AUDIENCE =
  /^\/\/iam\.googleapis\.com\/projects\/(\d+)\/locations\/global\/workloadIdentityPools\/([a-z0-9-]{4,32})\/providers\/([a-z0-9-]{4,32})$/;

export function providerName(audience: string): ProviderName | undefined {
  const [, projectNumber, pool, provider] = AUDIENCE.exec(audience) ?? [];
  if (projectNumber === undefined || pool === undefined || provider === undefined) return undefined;
  return { projectNumber, pool, provider };
}

/** Google refuses a longer `google.subject`. Source: https://cloud.google.com/iam/docs/workload-identity-federation */
export const LONGEST_SUBJECT = 127;

const poolPath = ({ projectNumber, pool }: ProviderName): string =>
  `iam.googleapis.com/projects/${projectNumber}/locations/global/workloadIdentityPools/${pool}`;

/**
 * What a provider for AWS makes of a caller.
 *
 * Source: https://cloud.google.com/iam/docs/workload-identity-federation#mapping
 */
export const AWS_MAPPING = {
  // Never assertion.arn: role and session names together exceed the 127 bytes of a subject.
  'google.subject': 'assertion.userid',
  'attribute.aws_account': 'assertion.account',
  // Google's own default: with the account, since a pool may hold providers of several.
  'attribute.aws_role':
    "assertion.arn.contains('assumed-role') ? assertion.arn.extract('{account_arn}assumed-role/') + 'assumed-role/' + assertion.arn.extract('assumed-role/{role_name}/') : assertion.arn",
  // Survives no deletion: a role that is made anew with the same name has another.
  'attribute.aws_role_id': "assertion.userid.extract('{id}:')",
} as const;

/** What a provider for an OIDC issuer makes of a token. */
export const OIDC_MAPPING = { 'google.subject': 'assertion.sub' } as const;

/** As a flag of gcloud takes it. No expression of ours holds a comma. */
export const mappingFlag = (mapping: Readonly<Record<string, string>>): string =>
  Object.entries(mapping)
    .map(([attribute, expression]) => `${attribute}=${expression}`)
    .join(',');

/** One identity of a pool, as IAM policies name it. */
export const principal = (name: ProviderName, subject: string): string =>
  `principal://${poolPath(name)}/subject/${subject}`;

/** All identities of a pool with this attribute. */
export const principalSet = (name: ProviderName, attribute: string, value: string): string =>
  `principalSet://${poolPath(name)}/attribute.${attribute}/${value}`;

export interface RoleSession {
  readonly account: string;
  /** Without its path: a session's ARN has none. */
  readonly role: string;
  readonly session: string;
}

/** The parts of `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`; undefined for a user or the root. */
export function roleSession(arn: string): RoleSession | undefined {
  const [, account, role, session] = /^arn:aws[a-z-]*:sts::(\d{12}):assumed-role\/([^/]+)\/(.+)$/.exec(arn) ?? [];
  if (account === undefined || role === undefined || session === undefined) return undefined;
  return { account, role, session };
}

/** The session of a role without the session's name: what `attribute.aws_role` is mapped to, by Google's default too. */
export const roleOfSession = (account: string, role: string, partition = 'aws'): string =>
  `arn:${partition}:sts::${account}:assumed-role/${role}`;

/** The project of a service account that a person made; undefined for one that Google made, whose e-mail tells none. */
export function accountProject(email: string): string | undefined {
  const [, project, domain] =
    /@(?!gcp-sa-)([a-z][a-z0-9-]*[a-z0-9])(?:\.([a-z0-9.-]+))?\.iam\.gserviceaccount\.com$/.exec(email) ?? [];
  return domain === undefined ? project : `${domain}:${project}`;
}
