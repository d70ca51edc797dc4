import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { ErrorCode } from 'yaml';
import { formatPath, quote } from './faults.ts';
import type { Fault, Finding, KeyPath } from './faults.ts';
import type { Environment } from './interpolation.ts';
import { TreeReader } from './tree-reader.ts';
import type { Template } from './tree-reader.ts';

const maxTextLength = 1024 * 1024;

/** A parsed file: plain values with the environment filled in, and where each of them stands. */
export interface ConfigDocument {
  /** Maps, lists and scalars. */
  readonly value: unknown;
  /** Values that could not be filled in: whatever else is said about them would be noise. */
  readonly unfilled: readonly KeyPath[];
  /** The values that came from the environment. */
  readonly templates: readonly Template[];
  /** Gives a finding its place: the key of what should not be there, else the value, else the nearest key above. */
  locate(finding: Finding): Fault;
}

/** Without the library's words: those quote the file, secrets included. */
const syntaxMessages: Partial<Record<ErrorCode, readonly [string, string?]>> = {
  BAD_ALIAS: ['an alias (*name) or anchor (&name) stands where none can be', 'put the value in quotes'],
  BAD_DQ_ESCAPE: ['an unknown escape in a double-quoted value', "use 'single quotes', or write \\\\"],
  BAD_INDENT: ['the indentation does not fit the lines above', 'indent with two spaces a level'],
  BAD_SCALAR_START: ['this value begins with a character that YAML reserves', 'put it in quotes'],
  BLOCK_AS_IMPLICIT_KEY: [
    'a mapping begins in the middle of a line',
    'put a value that contains ": " in quotes',
  ],
  BLOCK_IN_FLOW: [
    'an indented block stands inside [ ] or { }',
    'close the bracket, or put each entry on its own line',
  ],
  MISSING_CHAR: ['a colon, comma, bracket or closing quote is missing here or just before'],
  MULTIPLE_DOCS: ['a second YAML document begins here', 'keep one document: remove the line ---'],
  MULTILINE_IMPLICIT_KEY: ['a key goes on over two lines: probably a colon is missing'],
  NON_STRING_KEY: ['a key is no text'],
  TAB_AS_INDENT: ['a tab is used for indentation', 'indent with spaces'],
  TAG_RESOLVE_FAILED: ['tags (!name) mean nothing here', 'remove the tag, or put the value in quotes'],
  UNEXPECTED_TOKEN: [
    'something stands here that belongs to nothing',
    'put a value with special characters in quotes',
  ],
};

/**
 * Reads YAML 1.2, with the faults that need no knowledge of the keys: syntax, repeated keys, variables.
 * @returns no document where the syntax leaves nothing to go on with.
 */
export function readDocument(
  source: string,
  fileName: string,
  env: Environment,
): { readonly document: ConfigDocument | undefined; readonly faults: readonly Fault[] } {
  const refuseWhole = (message: string, cure?: string) => {
    const fault: Fault = { code: 'syntax', file: fileName, line: 0, column: 0, path: '', message, cure };
    return { document: undefined, faults: [fault] };
  };
  const text = source.startsWith('\ufeff') ? source.slice(1) : source;
  if (text.length > maxTextLength) return refuseWhole('the file is longer than 1 MiB');
  // YAML allows none of these, and a file that has them is no text.
  // eslint-disable-next-line no-control-regex -- they are what must not stand in the file
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffd]/.test(text))
    return refuseWhole('the file is not UTF-8 text');

  const lines = new LineCounter();
  const parsed = parseDocument(text, {
    lineCounter: lines,
    version: '1.2',
    schema: 'core',
    strict: true,
    stringKeys: true,
    // Found by the tree reader, with their paths.
    uniqueKeys: false,
    prettyErrors: false,
    // At `silent` a second document would go unnoticed; parseDocument prints nothing at any level.
    logLevel: 'error',
  });
  const placeAt = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { file: fileName, line: Math.max(line, 1), column: Math.max(col, 1) };
  };

  const mistakes = [...parsed.errors, ...parsed.warnings];
  if (mistakes.length > 0) {
    // Past the first of them the parser is lost: whatever follows in the file belongs to nothing.
    const isEcho = ({ code }: { readonly code: ErrorCode }, index: number): boolean =>
      code === 'UNEXPECTED_TOKEN' && mistakes.findIndex((each) => each.code === code) < index;
    const told = mistakes.filter((mistake, index) => !isEcho(mistake, index));
    const faults = told.map(({ code, pos }): Fault => {
      const [message, cure] = syntaxMessages[code] ?? ['the YAML cannot be read here'];
      return { code: 'syntax', ...placeAt(pos[0]), path: '', message, cure };
    });
    return { document: undefined, faults };
  }
  if (!isMap(parsed.contents)) {
    const empty = parsed.contents === null || (isScalar(parsed.contents) && parsed.contents.value === null);
    return refuseWhole(
      empty ? 'the file is empty' : 'expected a mapping with the keys server, upstream, session, sources',
    );
  }

  const reader = new TreeReader(parsed, env);
  const value = reader.read(parsed.contents);
  if (reader.exhausted) return refuseWhole('the file nests too deeply, or its aliases expand to too much');
  const place = ({ code, path, message, cure }: Finding, offset: number): Fault => {
    const shown = concealEnvironment(message, reader.templates);
    return { code, ...placeAt(offset), path: formatPath(path), message: shown, cure };
  };
  const document: ConfigDocument = {
    value,
    unfilled: reader.unfilled,
    templates: reader.templates,
    locate(finding) {
      const single = typeof finding.path.at(-1) === 'number' && !reader.has(finding.path);
      const path = single ? finding.path.slice(0, -1) : finding.path;
      return place({ ...finding, path }, reader.offsetOf(path, finding.code === 'unknown_key'));
    },
  };
  return { document, faults: reader.findings.map(({ finding, offset }) => place(finding, offset)) };
}

/** A quoted value that came from the environment appears as it is written in the file: there, secrets pass through any key. */
function concealEnvironment(message: string, templates: readonly Template[]): string {
  return templates.reduce((shown, { template, text }) => {
    if (text === '') return shown;
    const instead = quote(template);
    return shown.split(quote(text)).join(instead).split(JSON.stringify(text)).join(instead);
  }, message);
}
