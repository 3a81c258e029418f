import { PassThrough } from 'node:stream';
import { buildEncrypt } from '@aws-crypto/encrypt-node';
import {
  AlgorithmSuiteIdentifier,
  CommitmentPolicy,
  EncryptedDataKey,
  KeyringNode,
  KeyringTraceFlag,
  type NodeEncryptionMaterial,
} from '@aws-crypto/material-management-node';
import { BrokerError } from '../../core/api/index.ts';
import type { DataKey } from './kms.ts';
import type { Transform } from './zlib.ts';

/** The namespace of keys of AWS KMS: so every AWS Encryption SDK knows whom to ask. */
const KMS = 'aws-kms';

/** Hands out one data key that KMS has made. The library asks it for the key of a message. */
class OneDataKey extends KeyringNode {
  readonly #key: DataKey;

  constructor(key: DataKey) {
    super();
    this.#key = key;
  }

  override async _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
    const { keyArn, plaintext, encrypted } = this.#key;
    const {
      WRAPPING_KEY_GENERATED_DATA_KEY: made,
      WRAPPING_KEY_ENCRYPTED_DATA_KEY,
      WRAPPING_KEY_SIGNED_ENC_CTX,
    } = KeyringTraceFlag;
    material.setUnencryptedDataKey(plaintext, { keyNamespace: KMS, keyName: keyArn, flags: made });
    return material.addEncryptedDataKey(
      new EncryptedDataKey({ providerId: KMS, providerInfo: keyArn, encryptedDataKey: encrypted }),
      WRAPPING_KEY_ENCRYPTED_DATA_KEY | WRAPPING_KEY_SIGNED_ENC_CTX,
    );
  }

  override async _onDecrypt(): Promise<never> {
    throw new BrokerError('internal', 'this keyring only encrypts');
  }
}

const { encryptStream } = buildEncrypt({
  commitmentPolicy: CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
  maxEncryptedDataKeys: 1,
});

/**
 * A stream that encrypts what is written to it: AES-256-GCM with key commitment, in frames.
 *
 * Source: https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html
 */
export function encryption(key: DataKey, context: Readonly<Record<string, string>>, frameLength: number): Transform {
  const stream = encryptStream(new OneDataKey(key), {
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
    encryptionContext: context,
    frameLength,
  });
  // Destroying the stream of the library ends the process: its inner pipeline has nobody to tell. What comes out is read
  // from another one, which may be destroyed, and what is given up is let run to its end.
  const out = new PassThrough({ highWaterMark: frameLength });
  stream.on('error', (error) => out.destroy(error));
  stream.pipe(out);
  return {
    into: stream,
    from: out,
    close: () => {
      stream.unpipe(out);
      out.destroy();
      stream.resume();
      stream.end();
    },
  };
}
