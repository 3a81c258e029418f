import {
  BrokerError,
  defineStep,
  KEY_FIELDS,
  keyTemplate,
  keyTemplateText,
  type Step,
  z,
} from '../../core/api/index.ts';

export const rename = defineStep({
  name: 'rename',
  summary: 'Gives items other keys, by a template.',
  stability: 'beta',
  config: z.strictObject({
    template: keyTemplateText().describe(
      `In braces: ${KEY_FIELDS.join(', ')}; dir comes with its slash, ext with its dot. \`archive/{dir}{stem}-{date}{ext}\``,
    ),
  }),
  create: ({ template }): Step => {
    const { of, before, ordered, unique } = keyTemplate(template);
    return {
      keys: unique ? 'unique' : 'any',
      ...(ordered ? { from: (key) => (key.startsWith(before) ? [key.slice(before.length)] : []) } : {}),
      describe: (item) => {
        const key = of(item);
        if (key === undefined || key === '')
          throw new BrokerError('key_refused', `${item.id} does not have what its key is to be made of`, {
            hint: 'Change the template of the step rename, or leave the item out with filter.exclude.',
          });
        return { ...item, key };
      },
    };
  },
});
