import { inspect } from 'node:util';
import type { z } from 'zod';
import type { ConfigDocument } from './document.ts';
import { acceptsType, definitionAt, expectationOf, placeholderOf } from './definition.ts';
import { formatPath, liesWithin, quote } from './faults.ts';
import type { Finding, KeyPath } from './faults.ts';
import { configSchema } from './schema.ts';
import type { Config } from './schema.ts';
import { nearestName } from './spelling.ts';

/** What the definition alone can say about a file. */
export interface Structure {
  readonly findings: readonly Finding[];
  /** The configuration, with a placeholder wherever {@link unsound} says so; undefined where there is too little to go on. */
  readonly config: Config | undefined;
  /** Keys whose value is not the operator's; nothing else is to be said about them. */
  readonly unsound: readonly KeyPath[];
}

type Issue = z.core.$ZodIssue;

/** Rounds of "put a placeholder in, look again": each goes one level deeper into what was missing. */
const maxRounds = 8;

/** Unknown keys, wrong types, missing and bad values: all of them at once. */
export function validateStructure(document: ConfigDocument): Structure {
  const root = { whole: structuredClone(document.value) };
  const templates = new Map(document.templates.map(({ path, template }) => [JSON.stringify(path), template]));
  const findings: Finding[] = [];
  const unsound: KeyPath[] = [...document.unfilled];
  const isUnsound = (path: KeyPath) => unsound.some((above) => liesWithin(path, above));

  for (const { path } of document.templates) coerce(root, path);
  for (let round = 0; round < maxRounds; round += 1) {
    const parsed = configSchema.safeParse(root.whole);
    if (parsed.success) return { findings, config: parsed.data, unsound };
    const issues = parsed.error.issues.flatMap(unfoldUnion);
    // Misspelt keys first: what they were meant to be is then not reported as missing too.
    for (const issue of issues) {
      if (issue.code !== 'unrecognized_keys') continue;
      for (const key of issue.keys) {
        const path = keyPathOf([...issue.path, key]);
        const meant = nearestKey(keyPathOf(issue.path), key, root);
        findings.push(unknownKey(path, meant));
        if (meant !== undefined) unsound.push([...path.slice(0, -1), meant]);
        remove(root, path);
      }
    }
    for (const issue of issues) {
      if (issue.code === 'unrecognized_keys') continue;
      const path = keyPathOf(issue.path);
      const value = valueAt(root, path);
      if (!isUnsound(path)) {
        findings.push(describe(issue, path, value, templates.get(JSON.stringify(path))));
        unsound.push(path);
      }
      replace(root, path);
    }
  }
  return { findings, config: undefined, unsound };
}

/** A union's faults are those of the branch that the value came closest to, or the union's own. */
function unfoldUnion(issue: Issue): readonly Issue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const depth = (branch: readonly Issue[]) => Math.max(0, ...branch.map(({ path }) => path.length));
  const deepest = issue.errors.toSorted((a, b) => depth(b) - depth(a))[0];
  if (deepest === undefined || depth(deepest) === 0) return [issue];
  return deepest
    .map((inner): Issue => ({ ...inner, path: [...issue.path, ...inner.path] }))
    .flatMap(unfoldUnion);
}

function unknownKey(path: KeyPath, meant: string | undefined): Finding {
  const parent = definitionAt(path.slice(0, -1));
  const known = Object.keys(parent?.properties ?? {}).join(', ');
  return {
    code: 'unknown_key',
    path,
    message: 'unknown key',
    cure: meant === undefined ? `the keys here are ${known}` : `did you mean ${meant}?`,
  };
}

function nearestKey(parent: KeyPath, key: string, root: Root): string | undefined {
  const present = valueAt(root, parent);
  const known = Object.keys(definitionAt(parent)?.properties ?? {});
  return (
    nearestName(
      key,
      known.filter((name) => !(isRecord(present) && Object.hasOwn(present, name))),
    ) ?? nearestName(key, known)
  );
}

function describe(issue: Issue, path: KeyPath, value: unknown, template: string | undefined): Finding {
  const definition = definitionAt(path) ?? {};
  const expected = expectationOf(definition);
  if (value === undefined) {
    return { code: 'missing', path, message: `required: expected ${expected}`, cure: exampleOf(path) };
  }
  if (issue.code === 'invalid_key') {
    return { code: 'bad_value', path, message: 'this key may not be empty' };
  }
  const sameType = issue.code !== 'invalid_type' && issue.code !== 'invalid_union';
  const tooLong = issue.code === 'too_big';
  const empty = issue.code === 'too_small' && (value === '' || (Array.isArray(value) && value.length === 0));
  const found = empty ? 'nothing' : shown(path, value, template);
  return {
    code: sameType ? 'bad_value' : 'wrong_type',
    path,
    message: `expected ${expected}${tooLong && typeof issue.maximum === 'number' ? ` (at most ${issue.maximum})` : ''}, found ${found}`,
    cure: cureOf(definition, value) ?? exampleOf(path),
  };
}

function cureOf(definition: ReturnType<typeof definitionAt>, value: unknown): string | undefined {
  if (definition === undefined) return undefined;
  if (typeof value === 'string' && definition.enum !== undefined) {
    const meant = nearestName(value, definition.enum.map(String));
    if (meant !== undefined) return `did you mean ${meant}?`;
  }
  const scalar = typeof value === 'number' || typeof value === 'boolean';
  if (
    scalar &&
    definition.type === 'string' &&
    definition.pattern === undefined &&
    definition.enum === undefined
  ) {
    return 'put the value in quotes, so that it is text';
  }
  if (value === null) return 'give a value, or remove the key';
  if (typeof value === 'string' && definition.type === 'array') return 'write it as a list: [ … ]';
  return undefined;
}

function exampleOf(path: KeyPath): string | undefined {
  const example = definitionAt(path)?.examples?.[0];
  const key = path.at(-1);
  if (example === undefined) return undefined;
  const written = typeof example === 'string' ? example : JSON.stringify(example);
  return typeof key === 'string' ? `for example ${key}: ${written}` : `for example ${written}`;
}

/** Keys whose values may be, or may contain, a credential: they never stand in a report. */
export function mayHoldSecret(path: KeyPath): boolean {
  return /(^|\.)(client_secret|password|secrets(\[\d+\])?|proxy|redis\.url|redis\.(sentinel|cluster)\.nodes(\[\d+\])?|upstream\.url|authorization_params\..*)$/.test(
    formatPath(path),
  );
}

/** A value as a report may show it: what came from the environment appears as it is written in the file. */
function shown(path: KeyPath, value: unknown, template: string | undefined): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (mayHoldSecret(path)) return typeof value === 'string' ? 'other text' : `a ${typeof value}`;
  if (template !== undefined) return `the value of ${quote(template)}`;
  return typeof value === 'string' ? quote(value) : inspect(value);
}

/** A value from the environment is text; where the key wants a number or a boolean, and nothing else, it is read as one. */
function coerce(root: Root, path: KeyPath): void {
  const definition = definitionAt(path);
  const value = valueAt(root, path);
  if (definition === undefined || typeof value !== 'string') return;
  if (acceptsType(definition, 'integer') && /^-?(0|[1-9][0-9]{0,15})$/.test(value)) {
    assign(root, path, Number(value));
  } else if (acceptsType(definition, 'boolean') && (value === 'true' || value === 'false')) {
    assign(root, path, value === 'true');
  }
}

interface Root {
  whole: unknown;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function keyPathOf(path: readonly PropertyKey[]): KeyPath {
  return path.map((step) => (typeof step === 'number' ? step : String(step)));
}

function valueAt(root: Root, path: KeyPath): unknown {
  return path.reduce<unknown>((value, step) => {
    if (typeof step === 'number') return Array.isArray(value) ? (value as unknown[])[step] : undefined;
    return isRecord(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  }, root.whole);
}

function assign(root: Root, path: KeyPath, value: unknown): void {
  const key = path.at(-1);
  const parent = valueAt(root, path.slice(0, -1));
  if (key === undefined) root.whole = value;
  else if (typeof key === 'number' && Array.isArray(parent)) parent[key] = value;
  else if (isRecord(parent)) parent[key] = value;
}

function remove(root: Root, path: KeyPath): void {
  const parent = valueAt(root, path.slice(0, -1));
  const key = path.at(-1);
  if (isRecord(parent) && typeof key === 'string') Reflect.deleteProperty(parent, key);
}

/** Puts the default back, or a valid example where the key is required. */
function replace(root: Root, path: KeyPath): void {
  const parentDefinition = definitionAt(path.slice(0, -1));
  const key = path.at(-1);
  const optional = typeof key === 'string' && !(parentDefinition?.required ?? []).includes(key);
  if (optional) remove(root, path);
  else assign(root, path, placeholderOf(definitionAt(path) ?? {}));
}
