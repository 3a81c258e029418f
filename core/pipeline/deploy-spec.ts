import { z } from 'zod';
import { byteSize, duration, integer } from '../api/fields.ts';
import { readSchedule } from './schedule.ts';

/** Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html */
const RETENTIONS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

const DAY_MS = 86_400_000;

/** How `package --distributed` spreads a pipeline over many invocations. */
const distributedSpec = z.strictObject({
  shardBytes: byteSize({ min: '5MiB', max: '1TiB' })
    .prefault('4GiB')
    .describe(
      'What one child carries at most: some minutes of work. A larger object is carried by several children, in ranges of one multipart upload.',
    ),
  shardItems: integer(1, 100_000).default(5000).describe('Items that one child carries at most.'),
  maxConcurrency: integer(1, 10_000)
    .default(200)
    .describe('Children at once. An account may run 1,000 Lambdas at once, if it has not asked for more.'),
  requestsPerSecond: integer(1, 1_000_000)
    .default(3500)
    .describe(
      'Writes to the sinks by all children together: S3 takes 3,500 in a second for each prefix at first. Each child keeps to its share.',
    ),
  toleratedShardsPercent: z
    .number()
    .min(0)
    .max(100)
    .default(10)
    .describe(
      'Of the shards, how many percent may fail as a whole, and three in any case unless it is 0; with more, the rest is not begun.',
    ),
  toleratedItemsPercent: z
    .number()
    .min(0)
    .max(100)
    .default(0)
    .describe(
      'Of the items, how many percent may fail, and the execution still succeeds. The report names them all the same.',
    ),
});

/** How a pipeline is packaged and deployed. Read by `package`; of all this a run only uses `continue`. */
export const deploySpec = z.strictObject({
  schedule: z
    .string()
    .superRefine((text, context) => {
      readSchedule(text, (message) => context.addIssue({ code: 'custom', message }));
    })
    .optional()
    .describe('When to run: `rate(1 hour)` or `cron(0 3 * * ? *)`, in UTC.'),
  timeout: duration()
    .refine((ms) => ms >= 10_000 && ms <= 900_000, 'must be from 10s to 15m')
    .prefault('15m')
    .describe('Of one invocation of the Lambda. A run that needs longer pauses, and goes on in the next.'),
  memorySize: integer(128, 10_240)
    .default(256)
    .describe('MiB of the Lambda or container. Processor time grows with it.'),
  architecture: z.enum(['arm64', 'x86_64']).default('arm64').describe('Of the processor.'),
  logRetentionDays: z
    .number()
    .refine((days) => RETENTIONS.includes(days), `must be one of ${RETENTIONS.slice(0, 12).join(', ')}, …`)
    .default(30)
    .describe('How long logs are kept.'),
  continue: z
    .enum(['self', 'caller'])
    .default('caller')
    .describe(
      'Who calls a paused run again: the function itself, or whoever called it. `self` needs a `state` that lasts.',
    ),
  silence: duration()
    .refine((ms) => ms >= 3_600_000 && ms <= 7 * DAY_MS, 'must be from 1h to 168h')
    .optional()
    .describe(
      'Alarm when no run was complete for so long. Default: two intervals of the schedule, if they fit into a week.',
    ),
  distributed: distributedSpec.prefault({}).describe('How `package --distributed` spreads the work.'),
  reservedConcurrency: integer(1, 100_000)
    .optional()
    .describe(
      'The most invocations at once, children of a distributed run included. Set it with `push`: anybody can call its URL, though nobody is believed.',
    ),
});

const EMAIL = z.email('must be the e-mail address of a service account');

/** Who may push events over HTTP. */
export const pushSpec = z.strictObject({
  audience: z
    .string()
    .min(1)
    .max(1024)
    .describe('What the token must be made for: the audience of the push subscription, by default its URL.'),
  serviceAccount: z
    .union([EMAIL, z.array(EMAIL).min(1)], {
      error: ({ input }) =>
        input === undefined ? 'is required' : 'must be the e-mail address of a service account, or a list',
    })
    .describe('Who must have sent it: the service account of the push subscription, or a list.'),
  subscription: z
    .string()
    .regex(/^projects\/[^/]+\/subscriptions\/[^/]+$/, 'must be projects/PROJECT/subscriptions/NAME')
    .optional()
    .describe('Accept only this subscription.'),
});

export type DeploySpec = z.output<typeof deploySpec>;
export type PushSpec = z.output<typeof pushSpec>;

/** No more children than may be called at once. */
export const sharesOf = ({ distributed, reservedConcurrency }: DeploySpec): DeploySpec['distributed'] => ({
  ...distributed,
  maxConcurrency: Math.min(distributed.maxConcurrency, reservedConcurrency ?? distributed.maxConcurrency),
});
