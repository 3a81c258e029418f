import type { Entry } from './error-entry.ts';
import { EVENT_CODES } from './event-codes.ts';
import { JOB_CODES } from './job-codes.ts';
import { RUN_CODES } from './run-codes.ts';

export type { NextStep } from './error-entry.ts';

/** Every error a user can meet. `docs/errors.md` is generated from this table. */
export const ERROR_CODES = {
  // Passing faults: the engine tries the item again.
  throttled: {
    next: 'retry',
    title: 'The service asked us to slow down',
    cause: 'More requests than the bucket, project or account is allowed at this moment (HTTP 429 or 503 SlowDown).',
    fix: 'Lower `concurrency`, spread keys over prefixes, or ask for more quota.',
  },
  unavailable: {
    next: 'retry',
    title: 'The service answered with a server error',
    cause: 'A passing fault on the service side (HTTP 5xx, 408).',
    fix: 'Run again; if it lasts, look at the status page of the cloud.',
  },
  network: {
    next: 'retry',
    title: 'The connection failed',
    cause: 'DNS, TLS, a proxy, or a connection that was reset.',
    fix: 'Check that this machine can reach the host named in the message; set HTTPS_PROXY with NODE_USE_ENV_PROXY=1 if it needs a proxy, and NODE_EXTRA_CA_CERTS if that has a certificate of its own.',
  },
  timeout: {
    next: 'retry',
    title: 'The other side stopped answering',
    cause: 'No byte arrived within the limit.',
    fix: 'Run again; if it lasts, look at the network between this machine and the host.',
  },
  truncated: {
    next: 'retry',
    title: 'The body ended too early',
    cause: 'Fewer bytes arrived than the source announced.',
    fix: 'Run again. Nothing was stored.',
  },
  too_long: {
    next: 'retry',
    title: 'The body is longer than announced',
    cause: 'More bytes arrived than the source announced.',
    fix: 'Run again; if it lasts, a proxy on the way changes the content. Nothing was stored.',
  },
  checksum_mismatch: {
    next: 'retry',
    title: 'The bytes are not those the source published',
    cause: 'A byte was changed on the way from the source, to the sink, or in memory.',
    fix: 'Run again; if it lasts, suspect a proxy or the machine. Nothing was stored.',
  },
  busy: {
    next: 'retry',
    title: 'The same is under way already, or too much is',
    cause:
      'Another run of the pipeline, or of the object, is under way or was killed a moment ago; or the queue of `serve` is full.',
    fix: 'Try again later, as queues, Pub/Sub and Lambda do by themselves. A killed run counts as dead after 30 seconds.',
  },
  machine_limit: {
    next: 'retry',
    title: 'This machine allows no more open files or connections',
    cause: 'The process has reached its limit of open files (EMFILE, ENFILE).',
    fix: 'Lower `concurrency`, or raise the limit: `ulimit -n 4096`.',
  },
  write_conflict: {
    next: 'retry',
    title: 'Another write to the same key is under way',
    cause: 'S3 answered 409 ConditionalRequestConflict.',
    fix: 'Let only one pipeline write to a prefix at a time.',
  },
  // This item cannot be carried; the others go on.
  source_gone: {
    next: 'item',
    title: 'The object vanished after it was listed',
    cause: 'Something deleted it while the run was under way.',
    fix: 'Run again: the new listing will not show it. Stop the other writer if this must not happen.',
  },
  source_changed: {
    next: 'item',
    title: 'The object was replaced after it was listed',
    cause: 'A newer generation exists; the listed one can no longer be read.',
    fix: 'Run again to carry the newer version.',
  },
  conflict: {
    next: 'item',
    title: 'The destination changed after it was looked at',
    cause: 'Another process wrote or deleted the same key; the conditional write was refused.',
    fix: 'Run again to compare anew. Let only one pipeline write to a prefix.',
  },
  permission_denied: {
    next: 'item',
    title: 'The identity lacks a permission',
    cause: 'IAM, a bucket policy, a KMS key policy or an organisation policy refused the request.',
    fix: 'Grant the permission named in the message to the identity.',
  },
  invalid_request: {
    next: 'item',
    title: 'The service refused the request as malformed',
    cause: 'An option that this service or bucket does not accept.',
    fix: 'Read the reason in the message and change the option that it names.',
  },
  source_archived: {
    next: 'item',
    title: 'The object is archived, and cannot be read before it is restored',
    cause: 'It is of the storage class GLACIER or DEEP_ARCHIVE, or in an archive tier of INTELLIGENT_TIERING.',
    fix: 'Restore it (`aws s3api restore-object`) and run again, or leave it out with `filter.storageClasses`.',
  },
  source_encrypted: {
    next: 'item',
    title: 'The object is encrypted with a customer-supplied key',
    cause: 'Only whoever holds that key can read it.',
    fix: 'Rewrite the object without a customer-supplied key, or leave it out with `exclude`.',
  },
  key_refused: {
    next: 'item',
    title: 'The sink cannot hold this key',
    cause: 'The name is too long, or has a form that the sink cannot store exactly.',
    fix: 'Shorten the prefix, rename the object, or leave it out with `exclude`.',
  },
  key_collision: {
    next: 'item',
    title: 'Several items would get the same key',
    cause:
      'Two sources hold the same name, or `key.template` leaves out what tells two items apart; one would overwrite the other.',
    fix: 'Put {key} or {dir} into `key.template`; give sources prefixes that keep the names apart; or use two pipelines with different sink prefixes.',
  },
  metadata_refused: {
    next: 'item',
    title: 'The metadata cannot be carried over exactly',
    cause: 'S3 holds 2 KB of user metadata, with keys in lower case.',
    fix: 'Shorten or rename the metadata of the object, or set `metadata: drop` on the sink.',
  },
  too_large: {
    next: 'item',
    title: 'The object is larger than the sink can hold',
    cause: 'The store has a limit on the size of one object.',
    fix: 'Leave it out with `exclude`, or split it at the source.',
  },
  memory_too_small: {
    next: 'item',
    title: 'The memory limit is too small for this object',
    cause: 'A multipart upload has at most 10,000 parts, so a large object needs large parts.',
    fix: 'Raise `memory` to the size named in the message.',
  },
  unverifiable: {
    next: 'item',
    title: 'The copy could not be proved',
    cause: 'The store confirmed no checksum, or another than the source published.',
    fix: 'Use a store that verifies CRC32C, or set `proof: size` on the sink if you accept less.',
  },
  plugin_failed: {
    next: 'item',
    title: 'A plugin does not do what its contract says',
    cause:
      'It threw what it did not mean to, answered with something else, or did not answer. It is not part of Isthmus.',
    fix: 'Tell whoever wrote the plugin that the message names; the suites of isthmus/testing find what it does wrong.',
  },
  step_failed: {
    next: 'item',
    title: 'A step can make nothing of the content',
    cause: 'It is not what the step expects: no gzip data, or cut off; or the step itself has a defect.',
    fix: 'Leave the item out with `filter.exclude`, or change the step of `through` that the message names.',
  },
  disk_full: {
    next: 'item',
    title: 'No space left on the device',
    cause: 'The disk or the quota of the file sink is full.',
    fix: 'Free some space and run again. The unfinished file was removed.',
  },
  ...EVENT_CODES,
  ...JOB_CODES,
  ...RUN_CODES,
  // The run cannot go on.
  invalid_config: {
    next: 'run',
    title: 'The pipeline or an option is not valid',
    cause: 'The file or the command line says something that cannot be carried out.',
    fix: 'Change the line that the message names.',
  },
  bucket_missing: {
    next: 'run',
    title: 'The bucket or folder does not exist',
    cause: 'A typing error in its name, or it was deleted.',
    fix: 'Correct the name in the pipeline, or create it.',
  },
  wrong_region: {
    next: 'run',
    title: 'The bucket lives in another region',
    cause: 'The `region` of the sink is not that of its bucket, or a bucket is not where the data of the source are.',
    fix: 'Use the region, or a bucket in the location, that the message names.',
  },
  unauthenticated: {
    next: 'run',
    title: 'The credentials were refused',
    cause: 'Expired, unknown, from another account, or not accepted by the workload identity pool.',
    fix: 'Follow the hint of the message: it names the step of the chain that failed.',
  },
  no_credentials: {
    next: 'run',
    title: 'No AWS credentials were found',
    cause: 'Neither environment, profile, container nor instance gave any.',
    fix: 'Run where an IAM role is attached, or sign in with `aws sso login`.',
  },
  impersonation_denied: {
    next: 'run',
    title: 'The service account may not be impersonated',
    cause: 'The federated principal lacks roles/iam.workloadIdentityUser on it, or the account does not exist.',
    fix: 'Grant the role to the principal that the message names; changes take up to five minutes.',
  },
  wrong_identity: {
    next: 'run',
    title: 'The AWS identity is not the expected one',
    cause: 'The process runs as another account or role than `expect` names.',
    fix: 'Attach the expected role, or correct `expect`. Nothing was sent to Google.',
  },
  bad_response: {
    next: 'run',
    title: 'The server answered something that is not its protocol',
    cause: 'A proxy, a captive portal, or an endpoint that is not what it should be.',
    fix: 'Check `endpoint` and the proxy settings.',
  },
  internal: {
    next: 'item',
    title: 'A defect in Isthmus or a plugin',
    cause: 'Something happened that the code did not expect.',
    fix: 'Run with --debug and report what it prints.',
  },
  // Nothing is wrong: call again.
  pending: {
    next: 'wait',
    title: 'The source is not ready yet',
    cause: 'A job in the cloud is still running.',
    fix: 'Run again later; the run goes on where it stopped.',
  },
  stopped: {
    next: 'wait',
    title: 'The run was stopped',
    cause: 'A signal, or the time limit of the platform.',
    fix: 'Run again; the run goes on where it stopped.',
  },
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof ERROR_CODES;
