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
import { InvalidPipeline, type Problem } from './problem.ts';

const MAX_DEPTH = 32;
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
    uniqueKeys: true,
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
  inspect(document, at);
  if (document.errors.length === 0 && document.contents !== null && !isMap(document.contents)) {
    at(
      document.contents.range[0],
      `expected a mapping, found ${isSeq(document.contents) ? 'a list' : 'a single value'}`,
    );
  }
  if (problems.length > 0) throw new InvalidPipeline(file, unique(problems));
  return { document, lines };
}

/** Refuses by its text what would cost a recursive parser its stack. */
function refuseDeepText(text: string, file: string): void {
  let open = 0;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (character === '[' || character === '{') open++;
    else if (character === ']' || character === '}') open--;
    else if (character === '\n' && indentation(text, index + 1) <= 4 * MAX_DEPTH) continue;
    else if (character !== '\n') continue;
    if (open <= MAX_DEPTH && character !== '\n') continue;
    const before = text.slice(0, index + 1).split('\n');
    const place = { line: before.length, column: Math.max(1, before.at(-1)?.length ?? 1) };
    throw new InvalidPipeline(file, [{ ...place, message: `nested deeper than ${MAX_DEPTH} levels` }]);
  }
}

function indentation(text: string, from: number): number {
  let to = from;
  while (text[to] === ' ' || text[to] === '-') to++;
  return to - from;
}

function inspect(document: Document.Parsed, at: (offset: number, message: string) => void): void {
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
      return 'nested mapping on one line; quote the value if it contains ": "';
    case 'DUPLICATE_KEY':
      return `duplicate key${keyAt(text, error.pos[0])}`;
    case 'BAD_ALIAS':
      return 'anchors and aliases are not allowed';
    case 'TAG_RESOLVE_FAILED':
      return error.message.replace(/^Unresolved tag: /, 'unknown tag ');
    case 'BAD_INDENT':
      return 'all items of a collection must start at the same column';
    default:
      return `not valid YAML: ${error.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '')}`;
  }
}

const keyAt = (text: string, offset: number): string => {
  const found = /^["']?([^"':\n]{1,60})/.exec(text.slice(offset, offset + 80));
  return found === null ? '' : ` "${found[1]?.trim()}"`;
};

const unique = (problems: readonly Problem[]): Problem[] => [
  ...new Map(problems.map((problem) => [`${problem.line}:${problem.column}:${problem.message}`, problem])).values(),
];
