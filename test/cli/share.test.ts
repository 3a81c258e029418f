import { describe, expect, it } from 'vitest';
import { shareIn } from '../../core/runtime/share.ts';

const BATCH = { AWS_BATCH_JOB_ARRAY_INDEX: '2', AWS_BATCH_JOB_ARRAY_SIZE: '8' };
const KUBERNETES = { JOB_COMPLETION_INDEX: '3' };

describe('which part of a plan a process carries', () => {
  it.each([
    ['all of it, if nothing is said', undefined, {}, undefined],
    ['what --shard says', '3/8', {}, { index: 3, of: 8 }],
    ['what AWS Batch says, without any option', undefined, BATCH, { index: 2, of: 8 }],
    ['what Kubernetes says, where --shard says of how many', '8', KUBERNETES, { index: 3, of: 8 }],
    ['what --shard says, whatever the platform does', '0/4', { ...BATCH, ...KUBERNETES }, { index: 0, of: 4 }],
    ['all of it, as the only part', '0/1', KUBERNETES, undefined],
    ['all of it, where a variable is empty', undefined, { JOB_COMPLETION_INDEX: '' }, undefined],
  ])('is %s', (_, text, environment, expected) => {
    expect(shareIn(text, environment)).toEqual(expected);
  });

  it.each([
    ['a place beyond the number', '8/8', {}, 'no part 8 of 8'],
    ['none at all', '0/0', {}, 'no part 0 of 0'],
    ['a text', 'first', {}, '--shard first is none'],
    ['a number alone where nothing says which', '8', {}, 'does not say which'],
    ['an index alone: it would carry everything in every pod', undefined, KUBERNETES, 'nothing says of how many'],
    ['an index that is none', '8', { JOB_COMPLETION_INDEX: 'x' }, 'JOB_COMPLETION_INDEX is "x", and no number'],
    ['another number than AWS Batch says', '5', BATCH, '--shard 5, and the array has 8'],
    ['more parts than there may be', '0/999999', {}, 'no part 0 of 999999'],
  ])('is never guessed: %s', (_, text, environment, message) => {
    expect(() => shareIn(text, environment)).toThrow(message);
  });
});
