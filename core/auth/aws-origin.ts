import type { Environment } from '../pipeline/interpolate.ts';

/** The kinds of place that AWS credentials come from, as `require` names them. */
export const AWS_ORIGINS = [
  'lambda-role',
  'task-role',
  'pod-role',
  'instance-role',
  'container-role',
  'sso',
  'profile',
  'process',
  'environment',
] as const;

export type AwsOrigin = (typeof AWS_ORIGINS)[number];

/**
 * Which source of the AWS SDK's chain won, by the marks that it leaves on credentials.
 *
 * Only EC2 metadata leaves none, so whatever is unknown counts as the role of the node: `require` then errs on the
 * safe side.
 */
export function originOf(credentials: object, environment: Environment): AwsOrigin {
  const marks = '$source' in credentials ? Object.keys(credentials.$source as object) : [];
  const marked = (pattern: RegExp): boolean => marks.some((mark) => pattern.test(mark));
  if (marked(/^CREDENTIALS_ENV_VARS$/)) return environmentOrigin(environment);
  if (marked(/^CREDENTIALS_HTTP$/)) return containerOrigin(environment);
  if (marked(/SSO/)) return 'sso';
  if (marked(/PROCESS/)) return 'process';
  if (marked(/^CREDENTIALS_PROFILE|^CREDENTIALS_LOGIN/)) return 'profile';
  if (marked(/WEB_ID/)) return 'pod-role';
  // Where a container endpoint is named the SDK never asks EC2 metadata, but its second way there leaves no mark.
  const { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: path, AWS_CONTAINER_CREDENTIALS_FULL_URI: uri } = environment;
  return path || uri ? containerOrigin(environment) : 'instance-role';
}

/** In a Lambda the variables are those of its role. */
export const environmentOrigin = (environment: Environment): AwsOrigin =>
  environment.AWS_LAMBDA_FUNCTION_NAME ? 'lambda-role' : 'environment';

function containerOrigin(environment: Environment): AwsOrigin {
  if (environment.AWS_LAMBDA_FUNCTION_NAME) return 'lambda-role';
  const uri = environment.AWS_CONTAINER_CREDENTIALS_FULL_URI ?? '';
  if (environment.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI || environment.ECS_CONTAINER_METADATA_URI_V4)
    return 'task-role';
  if (
    /^http:\/\/(169\.254\.170\.23|\[fd00:ec2::23\])\//.test(uri) ||
    environment.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
  )
    return 'pod-role';
  return 'container-role';
}
