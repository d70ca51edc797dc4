import { isAlias, isMap, isScalar, isSeq } from 'yaml';
import type { Document, YAMLMap } from 'yaml';
import type { Finding, KeyPath } from './faults.ts';
import { interpolate } from './interpolation.ts';
import type { Environment } from './interpolation.ts';

/** Alias expansion ("billion laughs") ends here; a real file has a few hundred nodes. */
const maxNodes = 20_000;
const maxDepth = 32;

interface Place {
  readonly key: number | undefined;
  readonly value: number | undefined;
}

/** A value that came from the environment. */
export interface Template {
  readonly path: KeyPath;
  /** What stands in the file. */
  readonly template: string;
  /** What was filled in: it may be a secret, wherever it stands. */
  readonly text: string;
}

/** Turns a YAML tree into plain values, fills in the environment and remembers where everything stands. */
export class TreeReader {
  readonly findings: { readonly finding: Finding; readonly offset: number }[] = [];
  readonly unfilled: KeyPath[] = [];
  readonly templates: Template[] = [];
  /** Set once the tree is too large or too deep: then the value is worth nothing. */
  exhausted = false;
  readonly #places = new Map<string, Place>();
  readonly #document: Document.Parsed;
  readonly #env: Environment;
  #nodes = 0;

  constructor(document: Document.Parsed, env: Environment) {
    this.#document = document;
    this.#env = env;
  }

  /** The plain value of the whole tree. */
  read(root: unknown): unknown {
    return this.#read(root, [], undefined);
  }

  /** Whether the file itself has this key; a list may have been made of a single value since. */
  has(path: KeyPath): boolean {
    return this.#places.has(JSON.stringify(path));
  }

  /** Where the key (or value) at `path` stands, or the nearest one above it; a character offset. */
  offsetOf(path: KeyPath, ofKey: boolean): number {
    for (let length = path.length; length > 0; length -= 1) {
      const place = this.#places.get(JSON.stringify(path.slice(0, length)));
      const preferKey = ofKey || length < path.length;
      const offset = preferKey ? (place?.key ?? place?.value) : (place?.value ?? place?.key);
      if (offset !== undefined) return offset;
    }
    return 0;
  }

  #read(node: unknown, path: KeyPath, keyOffset: number | undefined): unknown {
    this.#nodes += 1;
    if (this.#nodes > maxNodes || path.length > maxDepth) this.exhausted = true;
    if (this.exhausted) return undefined;
    this.#remember(path, { key: keyOffset, value: offsetOfNode(node) });
    return this.#valueOf(node, path);
  }

  #valueOf(node: unknown, path: KeyPath): unknown {
    if (isAlias(node)) {
      const target = node.resolve(this.#document);
      if (target !== undefined) return this.#valueOf(target, path);
      const message = 'this alias (*name) names no anchor above it';
      const cure = 'put a value that begins with * in quotes';
      this.unfilled.push(path);
      this.#note({ code: 'syntax', path, message, cure }, offsetOfNode(node));
      return undefined;
    }
    if (isMap(node)) {
      const target: Record<string, unknown> = {};
      this.#readMap(node, path, target, 0);
      return target;
    }
    if (isSeq(node)) return node.items.map((item, index) => this.#read(item, [...path, index], undefined));
    if (!isScalar(node)) return null;
    return typeof node.value === 'string' ? this.#fill(node.value, path) : node.value;
  }

  /** Fills `target` with the keys of `map` that it does not have; `mergeDepth` counts merge keys within merge keys. */
  #readMap(map: YAMLMap, path: KeyPath, target: Record<string, unknown>, mergeDepth: number): void {
    const merges: unknown[] = [];
    const seen = new Set<string>();
    for (const { key, value } of map.items) {
      const name = isScalar(key) ? String(key.value) : '';
      const offset = offsetOfNode(key);
      if (name === '<<') {
        merges.push(value);
      } else if (name === '__proto__') {
        this.#note({ code: 'unknown_key', path: [...path, name], message: 'unknown key' }, offset);
      } else if (seen.has(name)) {
        const message = 'this key is given twice';
        this.#note(
          { code: 'duplicate_key', path: [...path, name], message, cure: 'keep one of them' },
          offset,
        );
      } else if (!Object.hasOwn(target, name)) {
        target[name] = this.#read(value, [...path, name], offset);
      }
      seen.add(name);
      if (this.exhausted) return;
    }
    for (const merge of merges) this.#merge(merge, path, target, mergeDepth + 1);
  }

  /** YAML's merge key: what the map itself says wins, then the earlier of several. */
  #merge(node: unknown, path: KeyPath, target: Record<string, unknown>, mergeDepth: number): void {
    this.#nodes += 1;
    if (this.#nodes > maxNodes || mergeDepth > maxDepth) this.exhausted = true;
    if (this.exhausted) return;
    const resolved = isAlias(node) ? node.resolve(this.#document) : node;
    if (isMap(resolved)) {
      this.#readMap(resolved, path, target, mergeDepth);
    } else if (isSeq(resolved)) {
      for (const item of resolved.items) this.#merge(item, path, target, mergeDepth + 1);
    } else {
      const message = 'expected a mapping, or a list of mappings, to merge';
      this.#note({ code: 'wrong_type', path: [...path, '<<'], message }, offsetOfNode(node));
    }
  }

  #fill(template: string, path: KeyPath): string | undefined {
    const filled = interpolate(template, this.#env);
    if (!filled.ok) {
      this.unfilled.push(path);
      const { message, cure } = filled;
      this.#note({ code: 'variable', path, message, cure }, this.offsetOf(path, false));
      return undefined;
    }
    if (filled.fromEnvironment) this.templates.push({ path, template, text: filled.text });
    return filled.text;
  }

  #note(finding: Finding, offset: number | undefined): void {
    this.findings.push({ finding, offset: offset ?? this.offsetOf(finding.path, true) });
  }

  #remember(path: KeyPath, place: Place): void {
    this.#places.set(JSON.stringify(path), place);
  }
}

function offsetOfNode(node: unknown): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node)) return undefined;
  const range: unknown = node.range;
  return Array.isArray(range) && typeof range[0] === 'number' ? range[0] : undefined;
}
