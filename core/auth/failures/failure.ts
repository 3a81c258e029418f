import type { ErrorCode } from '../../api/error-codes.ts';
import { AWS_MAPPING, mappingFlag } from '../principal.ts';
import type { StepName } from '../steps.ts';

/** One way in which the keyless chain fails. */
export interface Failure {
  readonly step: StepName;
  /** What the caller does next. */
  readonly code: ErrorCode;
  readonly title: string;
  readonly cause: string;
  /** An instruction. `{pool}` and the like are filled in with the user's own names where they are known. */
  readonly fix: string;
  /** The words by which a server, or another library, says it. */
  readonly said?: RegExp;
}

/** The names of a user's own things, for the instructions. */
export interface Facts {
  readonly audience?: string | undefined;
  readonly poolNumber?: string | undefined;
  readonly pool?: string | undefined;
  readonly provider?: string | undefined;
  readonly serviceAccount?: string | undefined;
  /** The federated identity as IAM policies name it. */
  readonly member?: string | undefined;
  readonly awsAccount?: string | undefined;
  readonly role?: string | undefined;
  readonly roleArn?: string | undefined;
  readonly arn?: string | undefined;
  readonly region?: string | undefined;
  readonly profile?: string | undefined;
  readonly tokenAudience?: string | undefined;
  readonly subject?: string | undefined;
  readonly project?: string | undefined;
  /** The account whose policy lets the federated identity in, and its project. */
  readonly bindAccount?: string | undefined;
  readonly bindProject?: string | undefined;
  readonly bindRole?: string | undefined;
  /** `update-aws` or `update-oidc`, by the kind of provider. */
  readonly updateProvider?: string | undefined;
  /** The attribute mapping and condition that the provider should have. */
  readonly mapping?: string | undefined;
  readonly condition?: string | undefined;
}

/** What holds for most, where nothing is known. */
const USUAL: Facts = {
  bindRole: 'roles/iam.workloadIdentityUser',
  updateProvider: 'update-aws',
  mapping: mappingFlag(AWS_MAPPING),
  condition: "assertion.arn.startsWith('arn:aws:sts::AWS_ACCOUNT:assumed-role/ROLE/')",
};

/** Fills in what is known; what is not stays as a name in capitals that a person replaces. `{{x}}` is a literal `{x}`. */
export function fill(text: string, facts: Facts): string {
  return text.replace(/\{\{(\w+)\}\}|\{(\w+)\}/g, (_, literal: string | undefined, name: string) => {
    if (literal !== undefined) return `{${literal}}`;
    const value = facts[name as keyof Facts] ?? USUAL[name as keyof Facts];
    return value ?? name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
  });
}
