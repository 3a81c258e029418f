/** A schedule of EventBridge, taken apart. Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html */
export type Schedule =
  | { readonly kind: 'rate'; readonly count: number; readonly unit: 'minute' | 'hour' | 'day' }
  | { readonly kind: 'cron'; readonly fields: Cron };

export interface Cron {
  readonly minute: string;
  readonly hour: string;
  readonly day: string;
  readonly month: string;
  readonly weekday: string;
  readonly year: string;
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

const FIELDS: Readonly<
  Record<keyof Cron, { readonly from: number; readonly to: number; readonly names?: readonly string[] }>
> = {
  minute: { from: 0, to: 59 },
  hour: { from: 0, to: 23 },
  day: { from: 1, to: 31 },
  month: { from: 1, to: 12, names: MONTHS },
  weekday: { from: 1, to: 7, names: WEEKDAYS },
  year: { from: 1970, to: 2199 },
};

/** @param report gets the one thing that is wrong. */
export function readSchedule(text: string, report: (message: string) => void): Schedule | undefined {
  const rate = /^rate\((\d{1,5}) (minute|hour|day)(s?)\)$/.exec(text);
  if (rate !== null) {
    const [, digits = '', unit = '', plural] = rate;
    const count = Number(digits);
    if (count === 0) report('must be at least one minute');
    else if ((count === 1) !== (plural === '')) report(`write rate(${count} ${unit}${count === 1 ? '' : 's'})`);
    else return { kind: 'rate', count, unit: unit as 'minute' | 'hour' | 'day' };
    return undefined;
  }
  const fields = /^cron\((.*)\)$/.exec(text)?.[1]?.split(' ');
  if (fields === undefined) {
    report('must be rate(…) or cron(…) as EventBridge writes them: rate(1 hour), cron(0 3 * * ? *)');
    return undefined;
  }
  if (fields.length !== 6) {
    report(`cron(…) has six fields (minute, hour, day, month, weekday, year), this one ${fields.length}`);
    return undefined;
  }
  const names = Object.keys(FIELDS) as (keyof Cron)[];
  const cron = Object.fromEntries(names.map((name, index) => [name, fields[index] ?? ''])) as unknown as Cron;
  const wrong = names.find((name) => !cron[name].split(',').every((item) => isItem(name, item)));
  if (wrong !== undefined) report(`"${cron[wrong].slice(0, 40)}" is no ${wrong} of a cron(…)`);
  else if ((cron.day === '?') === (cron.weekday === '?')) report('one of day and weekday must be "?", and only one');
  else return { kind: 'cron', fields: cron };
  return undefined;
}

function isItem(name: keyof Cron, item: string): boolean {
  if (item === '?') return name === 'day' || name === 'weekday';
  if (name === 'day' && /^(?:L|LW|\d{1,2}W)$/.test(item)) return true;
  if (name === 'weekday' && /^(?:L|[1-7]L|[1-7]#[1-5])$/.test(item)) return true;
  const [, base = '', step] = /^([^/]+)(?:\/(\d{1,4}))?$/.exec(item) ?? [];
  if (step !== undefined && Number(step) === 0) return false;
  const ends = base.split('-');
  return base === '*' || (ends.length <= 2 && ends.every((end) => numberIn(name, end) !== undefined));
}

function numberIn(name: keyof Cron, text: string): number | undefined {
  const { from, to, names = [] } = FIELDS[name];
  const named = names.indexOf(text.toUpperCase());
  const value = named >= 0 ? named + from : /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  return value >= from && value <= to ? value : undefined;
}

const HOURS = { minute: 1 / 60, hour: 1, day: 24 } as const;
const DAY = 24;

/** The longest that may lie between two runs, in hours; rather too long than too short. */
export function intervalHours(schedule: Schedule): number {
  if (schedule.kind === 'rate') return schedule.count * HOURS[schedule.unit];
  const { minute, hour, day, month, weekday, year } = schedule.fields;
  if (year !== '*' || month !== '*') return 366 * DAY;
  if (!['*', '?'].includes(weekday)) return longestGap('weekday', weekday) * DAY;
  if (!['*', '?'].includes(day)) return longestGap('day', day) * DAY;
  if (hour !== '*') return longestGap('hour', hour);
  return longestGap('minute', minute) / 60;
}

function longestGap(name: keyof Cron, field: string): number {
  const { from, to } = FIELDS[name];
  const span = to - from + 1;
  const values = field.split(',').flatMap((item) => {
    const [, base = '', step] = /^([^/]+)(?:\/(\d{1,4}))?$/.exec(item) ?? [];
    const [first, last] = base === '*' ? [from, to] : base.split('-').map((end) => numberIn(name, end));
    // `L`, `W` and `#` happen once.
    if (first === undefined) return [];
    const end = last ?? (step === undefined ? first : to);
    const all: number[] = [];
    for (let value = first; value <= end; value += Number(step ?? 1)) all.push(value);
    return all;
  });
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  const gaps = sorted.map((value, index) => (sorted[index + 1] ?? (sorted[0] ?? value) + span) - value);
  return gaps.length === 0 ? span : Math.max(...gaps);
}
