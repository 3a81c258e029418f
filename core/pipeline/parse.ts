import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  type Scalar,
  visit,
  type YAMLError,
} from 'yaml';
import { MAX_DEPTH, refuseDeepText } from './deep-text.ts';
import { InvalidPipeline, type Problem } from './problem.ts';

const RESERVED = new Set(['__proto__', 'constructor', 'prototype']);

/** YAML as plain data, and where each part of it stands. */
export interface Parsed {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
}

/**
 * Parses one YAML 1.2 document of maps, lists and scalars. What a pipeline does not need is refused rather than
 * limited: anchors, aliases, tags, merge keys, other than string keys.
 *
 * @throws InvalidPipeline with every mistake of the syntax.
 */
export function parsePipeline(text: string, file: string): Parsed {
  const lines = new LineCounter();
  const problems: Problem[] = [];
  const at = (offset: number, message: string): void => {
    const { line, col } = lines.linePos(offset);
    problems.push({ line, column: col, message });
  };

  const control = /[\p{Cc}--[\t\r\n]]/v.exec(text);
  if (control !== null) {
    const before = text.slice(0, control.index).split('\n');
    const code = control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    const place = { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
    throw new InvalidPipeline(file, [{ ...place, message: `control character U+${code}` }]);
  }
  refuseDeepText(text, file);

  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    schema: 'core',
    merge: false,
    // Looked for below, and in a time that does not grow with the square of their number.
    uniqueKeys: false,
    intAsBigInt: true,
    prettyErrors: false,
    stringKeys: false,
  });
  const [document, second] = Array.isArray(documents) ? documents : [];
  if (document === undefined || (document.contents === null && document.errors.length === 0)) {
    throw new InvalidPipeline(file, [{ message: 'the file is empty: expected a mapping with name, source, sink' }]);
  }
  for (const error of [...document.errors, ...document.warnings])
    at(placeOfSyntax(error, text), explainSyntax(error, text));
  if (second !== undefined) at(second.range?.[0] ?? 0, 'one pipeline per file: this is a second document');
  inspect(document, at, (offset) => lines.linePos(offset).line);
  if (document.errors.length === 0 && document.contents !== null && !isMap(document.contents)) {
    at(
      document.contents.range[0],
      `expected a mapping, found ${isSeq(document.contents) ? 'a list' : 'a single value'}`,
    );
  }
  if (problems.length > 0) throw new InvalidPipeline(file, unique(problems));
  return { document, lines };
}

function inspect(
  document: Document.Parsed,
  at: (offset: number, message: string) => void,
  lineOf: (offset: number) => number,
): void {
  visit(document, {
    Node(_key, node, path) {
      const offset = node.range?.[0] ?? 0;
      if (path.length > 2 * MAX_DEPTH) {
        at(offset, `nested deeper than ${MAX_DEPTH} levels`);
        return visit.BREAK;
      }
      if (isAlias(node) || ((isScalar(node) || isCollection(node)) && node.anchor !== undefined)) {
        at(offset, 'anchors and aliases are not allowed');
      } else if (node.tag?.startsWith(YAML_TAG) === true && !CORE_TAGS.test(node.tag)) {
        // Other unknown tags are warnings of the parser.
        at(offset, `unknown tag ${node.tag.replace(YAML_TAG, '!!')}`);
      }
      return undefined;
    },
    Map(_key, map) {
      const seen = new Map<unknown, number>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const offset = key.range?.[0] ?? 0;
        const first = seen.get(key.value);
        if (first === undefined) seen.set(key.value, offset);
        else at(offset, `duplicate key "${String(key.value)}" (first at line ${lineOf(first)})`);
      }
      return undefined;
    },
    Pair(_key, pair: Pair<unknown, unknown>) {
      const key = pair.key;
      const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
      if (!isScalar(key)) at(offset, 'keys must be plain strings');
      else inspectKey(key, offset, at);
    },
  });
}

const YAML_TAG = 'tag:yaml.org,2002:';
const CORE_TAGS = /^tag:yaml\.org,2002:(map|seq|str|int|float|bool|null)$/;

function inspectKey(key: Scalar, offset: number, at: (offset: number, message: string) => void): void {
  if (key.value === '<<') at(offset, 'merge keys are not supported');
  else if (key.value === null) at(offset, 'keys must be plain strings');
  else if (typeof key.value !== 'string') at(offset, `keys must be strings: quote ${key.source ?? String(key.value)}`);
  else if (RESERVED.has(key.value)) at(offset, `reserved key "${key.value}"`);
}

const NEVER_CLOSED =
  /^Missing closing (["'])|must be sufficiently indented and end with a ([\]}])|^Flow (?:map|sequence).*expected.*([\]}])/;
const OPENING: Readonly<Record<string, string>> = { ']': '[', '}': '{' };

/** The opening quote or bracket of what is never closed, rather than the place where that was noticed. */
function placeOfSyntax(error: YAMLError, text: string): number {
  const found = NEVER_CLOSED.exec(error.message);
  const closing = found?.[1] ?? found?.[2] ?? found?.[3];
  if (closing === undefined) return error.pos[0];
  const opening = text.lastIndexOf(OPENING[closing] ?? closing, Math.max(0, error.pos[0] - 1));
  return opening < 0 ? error.pos[0] : opening;
}

/** The parser's words for the mistakes that people make most, made plainer. */
function explainSyntax(error: YAMLError, text: string): string {
  const found = NEVER_CLOSED.exec(error.message);
  if (found !== null) return found[1] === undefined ? 'this bracket is never closed' : 'this quote is never closed';
  switch (error.code) {
    case 'TAB_AS_INDENT':
      return 'tabs are not allowed as indentation';
    case 'BLOCK_AS_IMPLICIT_KEY':
      return /: .*: /.test(lineAt(text, error.pos[0]))
        ? 'nested mapping on one line; quote the value if it contains ": "'
        : 'all items of a collection must start at the same column';
    case 'BAD_ALIAS':
      return 'anchors and aliases are not allowed';
    case 'TAG_RESOLVE_FAILED':
      return error.message.replace(/^Unresolved tag: /, 'unknown tag ');
    case 'BAD_INDENT':
      return 'all items of a collection must start at the same column';
    default:
      // Only its own words: what follows is what stands in the file.
      return `not valid YAML: ${/^[^"'%!|:\n]*/.exec(error.message.replace(/ at line \d+, column \d+:?/, ''))?.[0].trim()}`;
  }
}

const lineAt = (text: string, offset: number): string =>
  text.slice(text.lastIndexOf('\n', offset - 1) + 1).split('\n', 1)[0] ?? '';

const unique = (problems: readonly Problem[]): Problem[] => [
  ...new Map(problems.map((problem) => [`${problem.line}:${problem.column}:${problem.message}`, problem])).values(),
];
