/** A statement of an IAM policy that allows. */
export interface PolicyStatement {
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

export interface Asked {
  readonly action: string;
  readonly resource: string;
  /** What conditions may look at; a key that is absent matches nothing. */
  readonly context?: Readonly<Record<string, string | undefined>>;
}

/** Whether a policy allows what is asked. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies.html */
export const allows = (policy: readonly PolicyStatement[], { action, resource, context = {} }: Asked): boolean =>
  policy.some(
    (statement) =>
      statement.Action.some((one) => matches(one, action, true)) &&
      statement.Resource.some((one) => matches(one, resource)) &&
      Object.entries(statement.Condition ?? {}).every(([operator, wanted]) =>
        Object.entries(wanted).every(([key, values]) => {
          const value = context[key];
          if (value === undefined) return false;
          const all = typeof values === 'string' ? [values] : values;
          return all.some((one) => (operator.endsWith('Like') ? matches(one, value) : one === value));
        }),
      ),
  );

/** `*` and `?` are wildcards, `${*}` is a star. */
function matches(pattern: string, text: string, anyCase = false): boolean {
  const source = pattern.replace(/\$\{([*?$])\}|([*?])|([\s\S])/g, (_, literal, wildcard, other) =>
    wildcard === '*' ? '[\\s\\S]*' : wildcard === '?' ? '[\\s\\S]' : escaped(literal ?? other),
  );
  return new RegExp(`^${source}$`, anyCase ? 'i' : '').test(text);
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
