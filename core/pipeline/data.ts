import type { JsonValue } from '../api/json.ts';
import type { Path } from './plain.ts';
import type { Problem } from './problem.ts';

/** Where things stand in the file; a pipeline that was compiled into a bundle has no places. */
export interface Places {
  placeOf(path: Path, ofKey: boolean): { readonly line: number; readonly column: number };
  /** The text that stands in the file for a scalar: `012345678901` where the value has lost its zero. */
  textOf(path: Path): string | undefined;
}

/** A pipeline file as data: parsed, and its variables not filled in yet. */
export interface PipelineData {
  /** For messages; relative paths in the pipeline begin at its folder. */
  readonly file: string;
  readonly data: JsonValue;
  readonly places?: Places;
  /** What was found wrong before. */
  readonly problems?: readonly Problem[];
}
