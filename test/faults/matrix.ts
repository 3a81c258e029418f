/** A fault, what is promised under it, and the tests that show it. */
export interface Row {
  readonly id: string;
  readonly fault: string;
  readonly promise: string;
  /** Files and titles, or their beginnings. */
  readonly tests: readonly (readonly [string, string])[];
  /** What differs from what one might expect, or is not shown here. */
  readonly note?: string;
}

const F = 'test/faults/';
const PIPELINE = `${F}pipeline.test.ts`;
const ROWS = `${F}rows.test.ts`;
const RESUME = `${F}resume.test.ts`;
const STALE = `${F}stale.test.ts`;
const ENGINE = 'test/core/engine.test.ts';
const SYNC = 'test/core/sync.test.ts';
const SUITE = 'test/conformance/sink-suite.ts';
const S3 = 'test/plugins/s3.test.ts';
const BIGQUERY = 'test/plugins/bigquery.test.ts';
const TOGETHER = 'test/lambda/together.test.ts';
const EVENTS = 'test/lambda/events.test.ts';
const AUTH = 'test/core/auth.test.ts';
const TRANSPORT = 'test/transport/transport.test.ts';
const HOSTILE = 'test/transport/hostile.test.ts';
const DISTRIBUTED = 'test/distributed/faults.test.ts';
const LISTING = 'test/distributed/listing.test.ts';
const INTERPRETER = 'test/compat/step-functions/distributed.test.ts';

const row = (id: string, fault: string, promise: string, tests: Row['tests'], note?: string): Row => ({
  id,
  fault,
  promise,
  tests,
  ...(note === undefined ? {} : { note }),
});

export const MATRIX: readonly Row[] = [
  row('F1', 'Reset before the answer', 'tried again', [[PIPELINE, 'a reset before the answer']]),
  row('F2', 'Reset in the middle of a body', 'goes on at the next byte of the same generation', [
    [PIPELINE, 'resumes at the next byte, of the same generation'],
  ]),
  row('F3', 'Close in the middle of a body', 'the same; never hangs', [
    [PIPELINE, 'a close in the middle of the body'],
  ]),
  row('F4', 'Chunked body that ends early', '`truncated`; nothing is stored', [
    [PIPELINE, 'a chunked body that ends early'],
    [PIPELINE, 'bodies that stay short'],
  ]),
  row('F5', 'One wrong byte', 'read once more from the beginning, then `checksum_mismatch`; nothing is stored', [
    [ROWS, 'wrong bytes are read once more from the beginning, and no third time'],
  ]),
  row('F6', 'Body longer than announced', '`too_long`; nothing is stored', [
    [ROWS, 'a body that is longer than announced'],
  ]),
  row('F7', 'Stall in the middle of a body', 'goes on after 30 s; a slow reader is no stall', [
    [ROWS, 'in the middle of a body is gone on from at the next byte'],
  ]),
  row('F8', 'Drip of single bytes', '`timeout` below 1 kB/s over a minute', [
    [ROWS, 'a drip of single bytes is taken for what it is'],
  ]),
  row('F9', '503 twice', 'tried again', [
    [PIPELINE, 'two answers of 503'],
    ['test/plugins/gcs-retry.test.ts', 'is tried again after %s'],
  ]),
  row('F10', '429 with Retry-After: seconds, a date, too much, nonsense', 'waits as long as is asked, within the cap', [
    ['test/core/api.test.ts', 'waits as long as the server asks, within the cap'],
    [PIPELINE, '429 with Retry-After'],
  ]),
  row('F11', '503 for ever', 'gives up; the others go on; exit code 3 or 1', [
    [PIPELINE, 'a server that stays down'],
    [ENGINE, 'tries a failed item again and goes on with the others'],
  ]),
  row(
    'F12',
    '400, 401, 403',
    'not tried again (401 once, with a fresh token); a 403 for one object is about that one',
    [
      ['test/plugins/gcs-retry.test.ts', 'is not tried again after 400, and once more after 401'],
      [
        'test/faults/stale.test.ts',
        'of which one object may not be looked at any more carries the others, and names it',
      ],
      ['test/distributed/faults.test.ts', 'one object that may not be looked at is one refusal'],
    ],
  ),
  row('F13', '200 for a range', 'what comes before the range is passed over', [
    [ROWS.replace('rows', 'pipeline'), 'passes over what comes before a range when a server sends the whole of it'],
  ]),
  row('F14', '206 with another range', '`bad_response`; no byte of it is used', [[PIPELINE, 'uses no byte of %s']]),
  row('F15', 'Redirect', 'not followed', [
    [PIPELINE, 'a redirect'],
    [AUTH, 'a redirect'],
  ]),
  row('F16', 'Object replaced while it is read', 'never mixed; carried once in its new version', [
    [ROWS, 'an object that is replaced after it was listed is carried in its new version, once'],
    [ROWS, 'an object that is replaced in the middle of its reading leaves nothing that is mixed'],
  ]),
  row('F17', 'Object gone between listing and reading', '`source_gone`, or counted as skipped with `missing: skip`', [
    [ROWS, 'an object that vanishes between its listing and its reading'],
  ]),
  row('F18', 'Objects come and go between pages', 'none twice; the next run finds what came behind', [
    [ROWS, 'what comes and goes between pages is neither carried twice nor lost for the next run'],
  ]),
  row('F19', 'Page tokens in a loop, empty pages', '`list_order`; empty pages are passed over', [
    [ROWS, 'a loop of page tokens ends the run'],
    [ROWS, 'empty pages with a token are passed over'],
    [ROWS, 'of a sink that repeats its token ends the run'],
  ]),
  row(
    'F20',
    'Ten million names',
    'constant memory',
    [[ENGINE, 'finishes what is in flight, begins nothing new, and goes on there the next time']],
    'the memory is measured: `npm run bench:plan`',
  ),
  row('F21', 'Token refused in the middle', 'renewed once for all that are in flight', [
    [ROWS, 'a token that is refused while many items are in flight is renewed once for all of them'],
  ]),
  row('F22', 'Token exchange fails', '5xx tried again, 400 not; the hint names the step', [
    [AUTH, 'tries again after a passing fault, and not after a refusal'],
  ]),
  row('F23', 'ExpiredToken of S3', 'fresh credentials, once; then the run ends', [
    [ROWS, 'credentials that S3 says have ended, %s'],
  ]),
  row('F24', 'Many need a token at once', 'one exchange', [
    [AUTH, 'makes one exchange for many callers, and none while the token is good'],
  ]),
  row('F25', 'SlowDown of S3', 'tried again; half as many transfers at once', [
    [PIPELINE, '503 SlowDown on a part'],
    [ROWS, '503 SlowDown on a PUT is tried again'],
    ['test/core/slots.test.ts', 'are halved when a server says that it is too much'],
  ]),
  row('F26', 'Reset in the middle of a part', 'the part is sent again', [[PIPELINE, 'a reset before a part']]),
  row('F27', 'Complete says 200 and means an error', 'tried again', [
    [PIPELINE, 'a Complete that says 200 and means an error'],
  ]),
  row('F28', 'Complete answers blanks', 'looked for before it is said to have failed', [
    [ROWS, 'a Complete that answers %s'],
  ]),
  row('F29', 'Complete carried out, answer lost', 'recognised by size and checksum', [
    [ROWS, 'a Complete whose answer was lost, and that S3 then knows nothing of'],
    [PIPELINE, 'a Complete whose answer is lost'],
  ]),
  row('F30', 'PUT carried out, answer lost, then 412', 'recognised as our own', [
    [PIPELINE, 'recognises its own write when the answer was lost'],
    [PIPELINE, "leaves another's write alone"],
  ]),
  row('F31', '412', 'the same bytes are success, others `conflict`', [
    [ROWS, 'the same bytes that somebody else has written meanwhile are success'],
    [SUITE, 'refuses to create what is already there'],
  ]),
  row('F32', '409 ConditionalRequestConflict', 'PUT tried again; Complete from a new upload on', [
    [ROWS, 'a conflict of two conditional PUTs is tried again'],
    [PIPELINE, 'a conditional request conflict on Complete'],
  ]),
  row('F33', 'Checksum of a part refused', 'read and sent once more', [
    [PIPELINE, 'stores no byte that was broken on the wire'],
    [PIPELINE, 'writes again what was broken on the wire only once'],
    [RESUME, 'loses one part, and not all, to a passing fault of one part'],
  ]),
  row('F34', 'Upload gone in the middle', 'begun anew', [
    [PIPELINE, 'an upload that someone aborted'],
    [RESUME, 'begins anew when S3 has forgotten the upload'],
  ]),
  row('F35', 'Abort fails', 'tried twice, then told to the log', [
    [ROWS, 'an upload that cannot be aborted is tried twice, and told of'],
  ]),
  row(
    'F36',
    'Uploads of a dead run',
    'gone on with, or aborted; nobody else’s',
    [
      [RESUME, 'is none of the uploads of others, which stay'],
      [S3, 'aborts the uploads to exactly the key that was being written'],
      [`${F}every-step.test.ts`, 'copies and deletes all the same'],
    ],
    '`doctor` does not look at lifecycle rules',
  ),
  row('F37', 'More than 10,000 parts, more than 50 TB', 'parts grow; beyond it `too_large` before reading', [
    [ROWS, 'an object at the limits of parts is cut so that 10,000 hold it'],
  ]),
  row('F38', 'Source ends early without an error', '`truncated`; nothing is stored', [
    [ROWS, 'a source that ends early without an error stores nothing'],
  ]),
  row('F39', 'Source fails in the middle of an upload', 'the old object stays, no upload is left', [
    [SUITE, 'leaves the old object when the stream breaks half way'],
  ]),
  row('F40', 'The same event twice at once', 'one works, the other is told to come again', [
    [TOGETHER, 'is sent away to come again, and harms nothing'],
  ]),
  row('F41', 'Time limit of a Lambda', 'stops in time and goes on', [
    [EVENTS, 'stops in time, saves its checkpoint, says paused'],
  ]),
  row('F42', 'Killed before or after any request', 'the next run ends what it began', [
    [`${F}every-step.test.ts`, 'copies and deletes all the same'],
    [`${F}killed.test.ts`, 'loses nothing and leaves nothing, with %s'],
    [`${F}bigquery.test.ts`, 'by %s: one job, one bill'],
  ]),
  row('F43', 'SIGTERM', 'finishes or leaves what is in flight, exit code 4', [
    ['test/cli/cli.test.ts', 'by %s finishes what is in flight, ends 4'],
  ]),
  row('F44', 'Crash while the state is written', 'the old or the new; never from zero in silence', [
    ['test/core/state.test.ts', 'refuses a file that was cut off, and never begins from zero silently'],
    [ROWS, 'that %s ends the run, and is never guessed at'],
    [ROWS, 'that was lost makes the next run look at everything, and skip nothing'],
  ]),
  row('F45', 'State saved by somebody else', 'one wins; never overwritten', [
    [ENGINE, 'notices that another run of the pipeline saved its state first'],
  ]),
  row('F46', 'Two runs at once', 'the second says who is under way, or both do the same harmlessly', [
    [ROWS, 'of one pipeline on record: the second says who is under way, and touches nothing'],
    [ROWS, 'that are too short to be on record do the same work twice, and harm nothing'],
  ]),
  row('F47', 'A run wakes up after another has taken over', 'it ends with `state_conflict`', [
    ['test/core/progress.test.ts', 'ends a run that another one has taken over from, in the middle of an object'],
  ]),
  row(
    'F48',
    'Clock wrong by minutes',
    'measured and corrected',
    [['test/core/federation.test.ts', 'of %i minutes is measured and corrected']],
    'for S3 it is the SDK that corrects it',
  ),
  row('F49', 'Clock set back', 'no negative time, nothing blocked', [
    [ROWS, 'that are set back in a run give no negative time'],
    [ROWS, 'that are set back do not keep a credential from being fetched'],
  ]),
  row('F50', 'Disk full', '`disk_full` or `state_full`; no lock stays', [
    [ROWS, 'has no space: the file state says so, leaves no lock'],
  ]),
  row('F51', 'Too many open files', '`machine_limit`, with what to do', [
    [ROWS, 'allows no more open files: that is named, with what to do'],
  ]),
  row(
    'F52',
    'More memory than there is',
    'bounded by `memory`; lowered in small functions',
    [
      [ENGINE, 'is never exceeded and serves in the order of asking'],
      ['test/plugins/s3.test.ts', 'refuses what must be buffered and does not fit into memory'],
    ],
    'the command line does not compare `memory` with the machine',
  ),
  row('F53', 'NFC and NFD', 'two objects', [[ROWS, 'names of every kind go through both clouds and back exactly']]),
  row('F54', 'CR, LF, control characters in names', 'exact', [
    [ROWS, 'names of every kind go through both clouds and back exactly'],
  ]),
  row('F55', '`..`, `//`, leading `/`, backslash', 'exact in S3; refused or kept inside by a folder', [
    [SUITE, 'keeps every key exactly, or refuses it by name'],
    ['test/plugins/file.test.ts', 'does not follow a link out of its folder'],
  ]),
  row('F56', 'Name too long with its prefix', '`key_refused` at plan', [
    [PIPELINE, 'refuses by name what S3 cannot hold, and carries the rest'],
  ]),
  row('F57', '`%2F`, `+`, `?`, `#`, quotes', 'exact', [
    [ROWS, 'names of every kind go through both clouds and back exactly'],
  ]),
  row(
    'F58',
    'Two items, one key',
    '`key_collision` at plan',
    [
      [ENGINE, 'refuses items of two sources that would get one key'],
      [SYNC, 'that gives items one key lets the first have it'],
    ],
    'folders that do not tell case apart are not noticed at plan; the second write is a `conflict`',
  ),
  row('F59', 'Empty object', 'one PUT', [[SUITE, 'stores an empty object']]),
  row(
    'F60',
    'Objects that stand for folders',
    '`folderMarkers`, counted',
    [
      [SYNC, 'itself, the source, are left out and counted'],
      [ROWS, 'that was made in the console makes no run partial'],
    ],
    'copied by default: see the decision',
  ),
  row('F61', 'gzip objects', 'the stored bytes', [
    [PIPELINE, 'copies gzip objects as they are stored'],
    [ROWS, 'although it was asked not to is noticed'],
  ]),
  row('F62', 'Says gzip and is not', 'the stored bytes', [[PIPELINE, 'copies gzip objects as they are stored']]),
  row('F63', 'Composite object, no MD5', 'proved by CRC32C', [[PIPELINE, 'copies gzip objects as they are stored']]),
  row('F64', 'No CRC32C published', '`unverifiable`, refused', [
    [ROWS, 'an object of which no CRC32C is published is refused'],
  ]),
  row('F65', "A customer's key", '`source_encrypted`, not asked for', [
    [PIPELINE, 'names the fix for requester-pays buckets and customer-supplied keys'],
  ]),
  row('F66', 'KMS key denied or disabled', 'not tried again; the hint names the key', [
    [ROWS, '%s is named, with what to do, and not tried again'],
  ]),
  row('F67', 'Requester pays', 'the hint names `userProject`', [
    [PIPELINE, 'names the fix for requester-pays buckets and customer-supplied keys'],
  ]),
  row('F68', 'A perimeter', 'its id is passed on', [[ROWS, '%s is named, with what to do, and not tried again']]),
  row('F69', 'Object lock, retention', 'not tried again; said so', [
    [ROWS, '%s is named, with what to do, and not tried again'],
  ]),
  row('F70', 'A policy that demands encryption', 'found by `doctor`; the hint names the options', [
    [ROWS, '%s is named, with what to do, and not tried again'],
    ['test/doctor/doctor.test.ts', 'names the sink that cannot be written, though it can be listed'],
  ]),
  row('F71', 'BigQuery job longer than a Lambda', 'one job, found again', [
    [BIGQUERY, 'pauses the run; the next invocation finds the very job and goes on'],
  ]),
  row('F72', 'Fewer files than the job wrote', '`files_missing`', [
    [BIGQUERY, 'files that vanish from staging end the run'],
    [BIGQUERY, 'of which the job says nothing, and none is there, end the run'],
  ]),
  row('F73', 'Files of others in staging', 'neither carried nor deleted', [
    [BIGQUERY, 'deletes nothing that it did not make'],
  ]),
  row('F74', 'One file above 1 GB', 'exports have a wildcard', [[BIGQUERY, 'comes as many shards, in order']]),
  row('F75', 'Batch prediction failed in part', 'refused unless allowed', [
    ['test/plugins/vertexai.test.ts', 'with instances that failed is refused, unless so many may'],
  ]),
  row(
    'F82',
    'TLS and DNS',
    'never switched off; the host is named',
    [[ROWS, '%s is told with the host']],
    'the codes are tested, not a handshake',
  ),
  row('F83', 'Standard output closed', 'the run goes on; exit code 1', [
    [ROWS, 'closes the standard output: what is under way goes on'],
  ]),
  row('F84', 'Texts of a million characters, or like a token', 'cut, and blotted out', [
    [ROWS, 'of a million characters, or that look like a token'],
  ]),
  row('F85', 'State of a newer release', '`state_unreadable`, no guess', [
    [ENGINE, 'refuses a checkpoint of another source, of a newer release'],
  ]),
  row('S1', 'The sink has lost, between plan or listing and move, what is to be moved', 'it stays in its source', [
    [STALE, 'leaves in the source what the sink has lost since the plan was made'],
    [STALE, 'leaves in the source what the sink has lost since it was listed'],
    [STALE, 'of what one of two sinks has refused waits'],
  ]),
  row('S2', 'An object comes back between listing and delete', 'it stays in the sink', [
    [STALE, 'leaves what has come to be in the source after it was listed'],
  ]),
  row('S3', 'Something of a plan fails that also deletes', 'nothing is deleted', [
    [STALE, 'deletes nothing when something else of it went wrong'],
  ]),
  row('S4', 'The planned version is replaced after the last look', '`source_changed`; no other is carried', [
    [STALE, 'carries no version that nobody has approved'],
  ]),
  row('S5', 'Killed between a delete and its receipt', 'a line of it was durable before', [
    ['test/cli/apply.test.ts', 'tell of what is deleted before it is'],
  ]),
  row('S6', 'Receipts come while receipts are written', 'none is lost', [
    ['test/core/journal.test.ts', 'a journal loses no line that is added while others are written'],
  ]),
  row('S7', 'A sink that overlaps what the pipeline keeps, with `delete`', 'refused', [
    [STALE, 'is refused where the %s would be'],
  ]),
  row(
    'F76',
    'Distributed Map: manifest or shard missing, changed, or empty',
    'refused by name, in the report; nothing to do is a complete run',
    [
      [DISTRIBUTED, 'a manifest or a shard that was deleted or changed is refused by name'],
      [DISTRIBUTED, 'nothing to do, and nothing at all in the source, are complete runs'],
    ],
  ),
  row(
    'F77',
    'Some items fail always',
    'the report names them; tolerated, the execution succeeds all the same; shards that fail as a whole stop the rest',
    [
      [INTERPRETER, 'counts a few failures as a success where they are tolerated'],
      [INTERPRETER, 'stops when more shards fail than are tolerated, with a report'],
    ],
  ),
  row('F78', 'One item of a shard fails', 'its child goes on; only what failed is carried again', [
    [DISTRIBUTED, 'one item that fails does not fail its child'],
  ]),
  row(
    'F79',
    'A child is killed, throttled, or comes twice',
    'tried again; what is there is not carried twice, and counted once',
    [
      [INTERPRETER, 'objects with a child killed and another throttled'],
      [DISTRIBUTED, 'a child that comes twice'],
      [DISTRIBUTED, 'a child that dies after its last part'],
    ],
  ),
  row('F80', 'StopExecution', 'the next execution takes over', [[INTERPRETER, 'ends its children when it is stopped']]),
  row('F81', 'Payloads of 256 KiB', 'no key is in any of them', [
    [DISTRIBUTED, 'keys of 1024 bytes, of any characters, fit: no payload holds one'],
  ]),
  row('D1', 'Receipts of a shard are missing', 'its items are failures, and are carried again', [
    [DISTRIBUTED, 'a child that never says what became of its items makes them failures'],
  ]),
  row('D2', 'The pipeline is changed between two phases', '`invalid_plan`; nothing is carried half in the old way', [
    [DISTRIBUTED, 'a pipeline that was changed between the phases'],
  ]),
  row('D3', 'A phase comes twice, or late', 'it finds what it did; a run that was superseded changes nothing', [
    [DISTRIBUTED, 'every phase that comes twice finds what it did'],
    [DISTRIBUTED, 'a newer execution supersedes one that was ended'],
    [LISTING, 'by two processes at once comes to one plan'],
  ]),
  row(
    'D4',
    'An item larger than one child can move, or of more than 10,000 parts',
    'ranges of one upload by many children, completed once',
    [
      [INTERPRETER, 'makes one S3 object of 5 GiB that eight children carry'],
      [DISTRIBUTED, 'an item of more than 10,000 parts is cut into larger ones'],
      [DISTRIBUTED, 'the answer to the completion that is lost is no failure'],
    ],
  ),
  row(
    'D5',
    'A piece is missing, or somebody aborts the upload',
    'the item is a failure; only what is missing is sent again; a new run ends what was left',
    [
      [DISTRIBUTED, 'a piece that is missing leaves the item a failure and its upload'],
      [DISTRIBUTED, 'an upload that somebody has aborted is begun anew'],
      [DISTRIBUTED, 'what a run has left of an item is ended by the next run'],
    ],
  ),
  row(
    'D6',
    'A listing longer than one invocation, or that dies',
    'goes on where it was; what was not recorded counts for nothing',
    [
      [LISTING, 'that does not fit into one invocation goes on in the next'],
      [LISTING, 'that dies in the middle is begun again where it was on record'],
    ],
  ),
  row('T1', 'A server that sends byte by byte, or next to nothing', 'read; a drip and a stall have an end', [
    [TRANSPORT, 'reads answers that come byte by byte'],
    [TRANSPORT, 'ends a drip'],
    [TRANSPORT, 'lets a stall end'],
  ]),
  row('T2', 'Heads without end, two lengths, no HTTP at all', 'refused', [
    [TRANSPORT, 'a head without an end'],
    [TRANSPORT, 'two lengths'],
    [HOSTILE, 'is read as it is meant, or refused'],
  ]),
  row('T3', 'Fewer or more bytes than announced', 'failed; what came before a break is kept', [
    [TRANSPORT, 'fails when the connection ends %s'],
    [TRANSPORT, 'gives what has come before the connection broke'],
    [HOSTILE, 'that sends more than it announced'],
  ]),
  row(
    'T4',
    'A connection that the server closed while it rested',
    'what only reads goes out again; whoever writes is told',
    [[TRANSPORT, 'sends again on a new connection what a server closed while it rested']],
  ),
  row('T5', 'An answer before the body was sent', 'the sending ends; the answer says why', [
    [TRANSPORT, 'takes an answer that comes before the body was sent'],
    [TRANSPORT, 'takes an answer that comes with the last byte'],
  ]),
  row('T6', 'An answer that nobody asked for', 'nobody takes it for its own', [
    [HOSTILE, 'that speaks before it is asked is not listened to'],
  ]),
  row('T7', 'A reader that is slower than the source', 'what was read waits, and is never overwritten', [
    [TRANSPORT, 'carries a body from one connection to another, byte by byte the same'],
  ]),
  row('T8', 'A server that wants to renegotiate TLS', 'nothing more is taken from it', [
    [HOSTILE, 'a server that wants to renegotiate TLS gets nothing more'],
  ]),
  row('T9', 'A name that is not found, only IPv6, a proxy', 'told, reached, used', [
    [TRANSPORT, 'tells what a name that is not known'],
    [TRANSPORT, 'reaches a server that has only IPv6'],
    [HOSTILE, 'goes through a proxy where the process was told to, by CONNECT'],
  ]),
  row('T10', 'A server that wants a checksum with each part', 'its parts are hashed', [
    [S3, 'hashes the parts for a server that wants a checksum with each'],
  ]),
];
