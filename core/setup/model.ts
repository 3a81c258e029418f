import type { StorageScope } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import type { Grant } from '../api/plugin.ts';
import type { AwsIdentity } from '../auth/aws-identity.ts';
import type { GcpIdentity } from '../auth/federated.ts';
import type { ProviderName } from '../auth/principal.ts';
import { grantsOf } from '../pipeline/grants.ts';
import type { Pipeline } from '../pipeline/validate.ts';
import { mergedRoles, roleSetups } from './aws-side.ts';
import { bindingsOf, impersonationsOf, mergedBindings, mergedProviders, providersOf } from './google-side.ts';
import { shortName } from './names.ts';

/** A role of an AWS account: who is trusted, never the whole account. */
export interface AwsRole {
  readonly account: string;
  /** Its name, without path. */
  readonly role: string;
  /** With its path, where the pipeline names it. */
  readonly arn: string;
}

/** One provider and all that may use it. */
export interface ProviderSetup extends ProviderName {
  /** `aws`: signed requests. `aws-token`: JWTs of AWS. `kubernetes`: tokens of one service account of a cluster. */
  readonly kind: 'aws' | 'aws-token' | 'kubernetes';
  readonly audience: string;
  readonly roles: readonly AwsRole[];
  /** The unique id of the one role, where it was given: a role that is made anew with the same name has another. */
  readonly roleId: string | undefined;
}

/** A role on a service account, for whoever may act as it. */
export interface Impersonation {
  readonly serviceAccount: string;
  readonly role: 'roles/iam.workloadIdentityUser' | 'roles/iam.serviceAccountTokenCreator';
  readonly member: string;
}

/** A role on a bucket (or below a prefix of it) or on a project. */
export interface Binding {
  readonly on: StorageScope | { readonly project: string; readonly dataset?: string };
  readonly role: string;
  readonly member: string;
  readonly reason: string;
}

export type AwsGrant = Omit<Extract<Grant, { cloud: 'aws' }>, 'cloud' | 'identity'>;

/** A role of AWS with what it may do and who may become it. */
export interface RoleSetup extends AwsRole {
  readonly policies: readonly RolePolicy[];
  readonly trust:
    | { readonly by: 'place'; readonly place: AwsPlace }
    | {
        readonly by: 'role';
        readonly arns: readonly string[];
        readonly externalId: string | undefined;
        readonly tags: boolean;
      }
    | { readonly by: 'google'; readonly audience: string; readonly account: string };
}

/** What a role may do for one pipeline: a policy of its own, so that pipelines set up apart leave each other's alone. */
export interface RolePolicy {
  readonly pipeline: string;
  readonly grants: readonly AwsGrant[];
}

/** Where a workload runs on AWS, and who makes it its role there. */
export const AWS_PLACES = ['lambda', 'ecs', 'eks', 'eks-irsa', 'ec2'] as const;
export type AwsPlace = (typeof AWS_PLACES)[number];

/** All that administrators have to set up for one pipeline, and nothing that it does not need. */
export interface Setup {
  readonly pipeline: string;
  readonly providers: readonly ProviderSetup[];
  readonly impersonations: readonly Impersonation[];
  readonly bindings: readonly Binding[];
  readonly roles: readonly RoleSetup[];
}

/** A name for something, between two noncharacters: JSON leaves them as they are, and no text has a use for them. */
const unknown = (name: string): string => `\uFDD0${name}\uFDD1`;

/** What stands for what only the administrator knows; the outputs make variables of it. */
export const UNKNOWN = {
  kubernetesSubject: `system:serviceaccount:${unknown('KUBERNETES_NAMESPACE')}:${unknown('KUBERNETES_SERVICE_ACCOUNT')}`,
  attachedAccount: unknown('ATTACHED_SERVICE_ACCOUNT'),
  googleAccountId: unknown('GOOGLE_SERVICE_ACCOUNT_ID'),
  awsAccount: unknown('AWS_ACCOUNT'),
  clusterProviderArn: unknown('CLUSTER_OIDC_PROVIDER_ARN'),
  clusterIssuer: unknown('CLUSTER_ISSUER_HOST'),
} as const;

/** For each unknown: where an administrator finds it. */
export const WHERE: Readonly<Record<string, string>> = {
  KUBERNETES_NAMESPACE: 'the namespace of the pod',
  KUBERNETES_SERVICE_ACCOUNT: 'the Kubernetes service account of the pod',
  CLUSTER_ISSUER: 'aws eks describe-cluster --name CLUSTER --query cluster.identity.oidc.issuer --output text',
  CLUSTER_ISSUER_HOST: 'the issuer of the cluster without https://',
  CLUSTER_OIDC_PROVIDER_ARN: 'aws iam list-open-id-connect-providers',
  ATTACHED_SERVICE_ACCOUNT: 'the e-mail address of the service account that the workload runs as',
  GOOGLE_SERVICE_ACCOUNT_ID: "gcloud iam service-accounts describe EMAIL --format='value(uniqueId)'",
  AWS_ACCOUNT: 'aws sts get-caller-identity --query Account --output text',
  AWS_TOKEN_ISSUER: 'aws iam get-outbound-web-identity-federation-info --query IssuerIdentifier --output text',
};

const MARKED = /\uFDD0([A-Z_]+)\uFDD1/;

/** Writes a text: what is known by `plain`, what is not by `reference`. */
export const referred = (text: string, reference: (name: string) => string, plain = (known: string) => known): string =>
  text
    .split(MARKED)
    .map((part, index) => (index % 2 === 0 ? plain(part) : reference(part)))
    .join('');

export const hasUnknown = (text: string): boolean => MARKED.test(text);

/** The unknowns that a text speaks of, each once. */
export const unknownsIn = (text: string): readonly string[] => [
  ...new Set(text.split(MARKED).filter((_, index) => index % 2 === 1)),
];

/** What the administrator says of the workload. */
export interface SetupOptions {
  /** Of the one role that is trusted: pins it by its id too. */
  readonly roleId?: string | undefined;
  /** Where it runs on AWS. Default: what `require` of its identity says, or Lambda. */
  readonly place?: AwsPlace | undefined;
  /** An identity that does not say which role it expects gets that of the function: `isthmus-NAME`. */
  readonly ownRole?: boolean;
}

/** A pipeline, as those see it who set it up. */
export interface Identities {
  readonly pipeline: string;
  readonly gcp: readonly (readonly [string, GcpIdentity])[];
  readonly aws: readonly (readonly [string, AwsIdentity])[];
  readonly grants: readonly Grant[];
  readonly roleId: string | undefined;
  /** Where it runs, if that was said. */
  readonly place: AwsPlace | undefined;
  /** An identity of kind aws by name; undefined for the ambient one. */
  awsOf(name: string | undefined): AwsIdentity | undefined;
}

/**
 * One set-up for pipelines that belong together: those that share a provider, since its condition names all its roles.
 *
 * @throws BrokerError `invalid_config` when a pipeline does not say whom to trust, or two contradict each other.
 */
export function setupOf(pipelines: readonly Pipeline[], options: SetupOptions = {}): Setup {
  const [twice] = pipelines.filter(({ name }, index) => pipelines.findIndex((one) => one.name === name) !== index);
  if (twice !== undefined) {
    throw new BrokerError('invalid_config', `two pipelines are named ${twice.name}`, {
      hint: 'Give each a name of its own: their rights, and their state, are kept by it.',
    });
  }
  const all = pipelines.map((pipeline) => identitiesOf(pipeline, options));
  return {
    pipeline: pipelines
      .map(({ name }) => name)
      .join('-')
      .slice(0, 100),
    providers: mergedProviders(all.flatMap(providersOf), options.roleId),
    impersonations: distinct(
      all.flatMap((one) => one.gcp.flatMap(([name, identity]) => impersonationsOf(name, identity, one))),
    ),
    bindings: mergedBindings(all.flatMap(bindingsOf)),
    roles: mergedRoles(all.flatMap(roleSetups)),
  };
}

/** The role of a workload that its pipeline does not name. */
export const ownRoleName = (pipeline: string): string => shortName(`isthmus-${pipeline}`, 64);

function identitiesOf(pipeline: Pipeline, { roleId, place, ownRole = false }: SetupOptions): Identities {
  const entries = Object.entries(pipeline.identities);
  const named = new Map(entries);
  const own = { awsAccountId: UNKNOWN.awsAccount, roleName: ownRoleName(pipeline.name) };
  return {
    pipeline: pipeline.name,
    gcp: entries
      .filter((entry): entry is [string, GcpIdentity] => entry[1].kind === 'gcp')
      .map(([name, identity]) => [name, ownRole ? { ...identity, expect: { ...own, ...identity.expect } } : identity]),
    aws: entries.filter((entry): entry is [string, AwsIdentity] => entry[1].kind === 'aws'),
    grants: grantsOf(pipeline),
    roleId,
    place,
    awsOf: (name) => {
      const identity = name === undefined ? undefined : named.get(name);
      return identity?.kind === 'aws' ? identity : undefined;
    },
  };
}

/** Whether AWS is asked for identity tokens: an account has to allow it once. */
export const asksForTokens = (roles: readonly RoleSetup[]): boolean =>
  roles.some(({ policies }) =>
    policies.some(({ grants }) => grants.some(({ actions }) => actions.includes('sts:GetWebIdentityToken'))),
  );

export function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
