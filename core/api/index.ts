/**
 * All that a plugin author needs: the contracts of sources, sinks and state stores, and `defineSource`, `defineSink`
 * and `defineState` to make plugins of them.
 *
 * @module isthmus
 */
export { z } from 'zod';
export {
  type AuthorizedFetchOptions,
  authorizedFetch,
  awsSdkCredentials,
  type GoogleAuthClientOptions,
  googleAuthClient,
} from './adapters.ts';
export { ahead } from './ahead.ts';
export {
  type ByteRange,
  type ByteStream,
  type Content,
  type ContentStream,
  type MemoryBudget,
  type MemoryLease,
  streamOf,
  type Take,
} from './bytes.ts';
export { type Check, checked } from './check.ts';
export { combineCrc32c, decodeCrc32c, EMPTY_CRC32C, encodeCrc32c } from './checksum.ts';
export { CONTRACT } from './contract.ts';
export type {
  AwsCredentials,
  CredentialBroker,
  CredentialProvider,
  GcpAccessToken,
  GcpTokenRequest,
  StorageScope,
} from './credentials.ts';
export { ERROR_CODES, type ErrorCode, type NextStep } from './error-codes.ts';
export {
  asBrokerError,
  BrokerError,
  type ErrorOptions,
  NETWORK_ERRORS,
  refusalOf,
  systemErrorCode,
  throwIfAborted,
} from './errors.ts';
export {
  byteSize,
  duration,
  endpointUrl,
  gcsBucket,
  identityName,
  integer,
  isLoopback,
  keyGlob,
  keyPrefix,
  type OptionProblem,
  problemsBy,
  s3Bucket,
  timestamp,
} from './fields.ts';
export { compileGlob } from './glob.ts';

export type { Checksums, ContentHeaders, Estimate, Item, Made, Refusal, StoredObject, Written } from './item.ts';
export type { JsonValue } from './json.ts';
export { KEY_FIELDS, type KeyTemplate, keyTemplate, keyTemplateText } from './key-template.ts';
export { compareKeys, keyBefore, keyBytes } from './keys.ts';
export { type Line, linesOf } from './lines.ts';
export { Paged } from './paged.ts';
export type { Pieces } from './pieces.ts';
export {
  defineSink,
  defineSource,
  defineState,
  defineStep,
  type Endpoints,
  type Grant,
  type IdentityKind,
  type PluginContext,
  type PluginDefinition,
  type SinkDefinition,
  type SourceDefinition,
  type Stability,
  type StateDefinition,
  type StepDefinition,
  type Use,
} from './plugin.ts';
export { type ResumedRead, resumedRead } from './reading.ts';
export { backoffMs, parseRetryAfter, pause, type RetryOptions, type RetryPolicy, retry } from './retry.ts';
export type { Fields, Logger, Runtime } from './runtime.ts';
export { AwsSigner, canonicalQuery, encodeForAws, type SignedParts } from './sigv4.ts';
export type { Expected, Sink, TidyOptions, Unfinished, WriteOptions } from './sink.ts';
export type { Slot, Slots } from './slots.ts';
export type {
  Facts,
  ListOptions,
  Notes,
  OpenOptions,
  Purpose,
  RunContext,
  Selection,
  Source,
  SourceFailure,
} from './source.ts';
export type { Revision, Saved, StateStore } from './state.ts';
export type { Beside, Step, StepOptions } from './step.ts';
export { formatBytes, formatDuration, looksSecret, safeText, visible } from './text.ts';
export type { HttpBody, HttpRequest, HttpResponse, SentBody, Traffic, Transport } from './transport.ts';
