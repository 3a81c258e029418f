import { describe, expect, it } from 'vitest';
import { factsOf, federatedName, type GcpIdentity } from '../../core/auth/federated.ts';
import { AWS_MAPPING, accountProject, mappingFlag } from '../../core/auth/principal.ts';

const AUDIENCE =
  '//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers/isthmus';
const identity = (more: object): GcpIdentity =>
  ({ kind: 'gcp', from: 'aws-signature', audience: AUDIENCE, ...more }) as GcpIdentity;
const caller = (partition: string) => ({
  account: '111122223333',
  arn: `arn:${partition}:sts::111122223333:assumed-role/exports/session`,
  userId: 'AROA0123456789ABCDEF:session',
});

describe('whom Google sees', () => {
  it('is the role of an account, whatever the session is called', () => {
    const { member, subject } = federatedName(identity({}), { caller: caller('aws') });
    expect(subject).toBe('AROA0123456789ABCDEF:session');
    expect(member).toMatch(/attribute\.aws_role\/arn:aws:sts::111122223333:assumed-role\/exports$/);
  });

  it('is of the partition of the caller, in the condition too', () => {
    const known = { caller: caller('aws-us-gov') };
    expect(federatedName(identity({}), known).member).toMatch(/\/arn:aws-us-gov:sts::/);
    expect(factsOf(identity({}), known).condition).toContain(
      "'arn:aws-us-gov:sts::111122223333:assumed-role/exports/'",
    );
  });

  it('has, in a token of AWS, the path of the role, which its session does not tell', () => {
    const roleArn = 'arn:aws:iam::111122223333:role/team/exports';
    const { subject } = federatedName(identity({ from: 'aws-token' }), { caller: caller('aws'), roleArn });
    expect(subject).toBe(roleArn);
  });

  it('borrows the first of its delegates, with the right to pass a request on', () => {
    const chain = {
      serviceAccount: 'last@acme.iam.gserviceaccount.com',
      delegates: ['first@beta.iam.gserviceaccount.com'],
    };
    expect(factsOf(identity(chain))).toMatchObject({
      bindAccount: 'first@beta.iam.gserviceaccount.com',
      bindProject: 'beta',
      bindRole: 'roles/iam.serviceAccountTokenCreator',
    });
  });
});

it.each([
  ['exports@acme.iam.gserviceaccount.com', 'acme'],
  ['exports@acme-prod.iam.gserviceaccount.com', 'acme-prod'],
  ['exports@acme-prod.example.com.iam.gserviceaccount.com', 'example.com:acme-prod'],
  ['123456789-compute@developer.gserviceaccount.com', undefined],
  ['acme@appspot.gserviceaccount.com', undefined],
  ['service-123@gcp-sa-pubsub.iam.gserviceaccount.com', undefined],
])('the project of %s is %s', (email, project) => {
  expect(accountProject(email)).toBe(project);
});

it('a mapping has no comma inside, at which gcloud would take it apart', () => {
  expect(mappingFlag(AWS_MAPPING).split(',')).toHaveLength(Object.keys(AWS_MAPPING).length);
});
