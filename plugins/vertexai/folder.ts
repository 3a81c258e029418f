/** `{time}` and `{date}` of a folder, from when a run began. */
export const folderAt = (folder: string, startedAt: string): string =>
  folder.replace(/\{(\w+)\}/g, (_, name: string) =>
    name === 'time' ? startedAt.replace(/[-:.]/g, '') : startedAt.slice(0, 10),
  );
