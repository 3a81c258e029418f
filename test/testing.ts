/**
 * For plugin authors: the suites that say what a source, a sink or a state store promises, and a local cloud to test
 * against. The suites register themselves with vitest, an optional peer dependency.
 *
 * @module isthmus/testing
 */
export { bufferBody, crc32c, patternBody } from './cloud/body.ts';
export type { Fault } from './cloud/faults.ts';
export type { GcsBucket } from './cloud/gcs-objects.ts';
export type { LocalKms } from './cloud/kms.ts';
export { LOCAL_AUDIENCE, LOCAL_ROLE, LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from './cloud/local-cloud.ts';
export type { S3Bucket } from './cloud/s3-objects.ts';
export { type CreateOptions, createSink, createSource, createStep } from './conformance/create.ts';
export type { Exceptions } from './conformance/register.ts';
export { runContext } from './conformance/run-context.ts';
export { type SinkFixture, sinkSuite } from './conformance/sink-suite.ts';
export { type SourceFixture, sourceSuite } from './conformance/source-suite.ts';
export { type StateFixture, stateSuite } from './conformance/state-suite.ts';
