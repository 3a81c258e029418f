import { BrokerError } from '../../../core/api/index.ts';
import { commonFailure, type FailedAnswer } from '../http.ts';
import type { StoragePlace } from './place.ts';

const denied = (
  what: string,
  permission: string,
  { message }: FailedAnswer,
  config: Pick<StoragePlace, 'bucket' | 'identity'>,
): BrokerError =>
  new BrokerError('permission_denied', `${what}: HTTP 403: ${message}`, {
    hint: /\bKMS\b|CryptoKey/i.test(message)
      ? 'Let the service agent of Cloud Storage use the KMS key that the message names (roles/cloudkms.cryptoKeyDecrypter), and see that the key is enabled.'
      : /VPC Service Controls|organization'?s? policy/i.test(message)
        ? 'A perimeter or an organisation policy refused the request: give its administrator the message above.'
        : `Grant ${permission} (roles/storage.objectViewer) on gs://${config.bucket} to the identity "${config.identity}"; changes take a minute or more.`,
  });

/** What a failed listing means: it ends the run, so its errors are those of the bucket. */
export function listFailure(config: StoragePlace, answer: FailedAnswer): BrokerError {
  const what = `list gs://${config.bucket}/${config.prefix}`;
  const common = commonFailure(what, answer) ?? requesterPays(what, answer);
  if (common !== undefined) return common;
  if (answer.status === 403) {
    const error = denied(what, 'storage.objects.list', answer, config);
    return new BrokerError('unauthenticated', error.message, { hint: error.hint });
  }
  if (answer.status === 404) {
    return new BrokerError('bucket_missing', `gs://${config.bucket} does not exist`, {
      hint: `Correct bucket: ${config.bucket} in the source.`,
    });
  }
  return new BrokerError('invalid_config', `${what}: HTTP ${answer.status}: ${answer.message}`);
}

/** What it means that one object cannot be looked at: a refusal is about that object, all else about the bucket. */
export function lookFailure(name: string, config: StoragePlace, answer: FailedAnswer): BrokerError {
  const what = `look at gs://${config.bucket}/${name}`;
  const common = commonFailure(what, answer) ?? requesterPays(what, answer);
  if (common !== undefined) return common;
  return answer.status === 403 ? denied(what, 'storage.objects.get', answer, config) : listFailure(config, answer);
}

/** What a failed read of one object means; 404 is left to the caller, who can look whether it was replaced. */
export function readFailure(
  what: string,
  config: Pick<StoragePlace, 'bucket' | 'identity'>,
  answer: FailedAnswer,
): BrokerError {
  const common = commonFailure(what, answer) ?? requesterPays(what, answer);
  if (common !== undefined) return common;
  if (answer.status === 403) return denied(what, 'storage.objects.get', answer, config);
  if (/customer-supplied encryption key/i.test(answer.message) || /EncryptedWithCustomer/.test(answer.reason)) {
    return new BrokerError('source_encrypted', `${what}: ${answer.message}`);
  }
  if (/\bKMS\b|CryptoKey/i.test(answer.message))
    return new BrokerError('permission_denied', `${what}: HTTP ${answer.status}: ${answer.message}`, {
      hint: 'Enable the KMS key that the message names.',
    });
  return new BrokerError('invalid_request', `${what}: HTTP ${answer.status}: ${answer.message}`);
}

function requesterPays(what: string, answer: FailedAnswer): BrokerError | undefined {
  if (answer.status !== 400 || !/requester pays/i.test(answer.message)) return undefined;
  return new BrokerError('invalid_config', `${what}: ${answer.message}`, {
    hint: 'Set userProject on the source: the project that pays for reading.',
  });
}
