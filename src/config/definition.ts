import { z } from 'zod';
import type { KeyPath } from './faults.ts';
import { configSchema } from './schema.ts';

/** One key of the definition, in JSON Schema's words (the form in which it is written, before parsing). */
export interface Definition {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean' | 'null';
  /** What a value is, in words, where type and bounds do not say it. */
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Definition>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Definition;
  readonly items?: Definition;
  readonly anyOf?: readonly Definition[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly minItems?: number;
}

let cached: Definition | undefined;

/** The definition of the whole file, from {@link configSchema}; made once. */
export function wholeDefinition(): Definition {
  cached ??= z.toJSONSchema(configSchema, {
    io: 'input',
    target: 'draft-2020-12',
    override({ zodSchema, jsonSchema }) {
      // zod leaves the examples of transformed keys out, taking them for examples of the result.
      const examples = z.globalRegistry.get(zodSchema as unknown as z.ZodType)?.['examples'];
      if (Array.isArray(examples)) jsonSchema.examples ??= examples as never[];
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      delete jsonSchema.propertyNames;
    },
  }) as Definition;
  return cached;
}

/** What the definition says about the key at `path`; undefined where it knows none. */
export function definitionAt(path: KeyPath): Definition | undefined {
  return path.reduce<Definition | undefined>((definition, step) => {
    return definition === undefined ? undefined : stepInto(definition, step);
  }, wholeDefinition());
}

function stepInto(definition: Definition, step: string | number): Definition | undefined {
  for (const branch of branchesOf(definition)) {
    if (typeof step === 'number') {
      if (branch.items !== undefined) return branch.items;
    } else {
      const named = branch.properties?.[step];
      if (named !== undefined && Object.hasOwn(branch.properties ?? {}, step)) return named;
      if (typeof branch.additionalProperties === 'object') return branch.additionalProperties;
    }
  }
  return undefined;
}

function branchesOf(definition: Definition): readonly Definition[] {
  return definition.anyOf ?? [definition];
}

/** What is expected, in words: `one of json, pretty`, `a list of …`. */
export function expectationOf(definition: Definition): string {
  if (definition.anyOf !== undefined) {
    return [...new Set(definition.anyOf.map(expectationOf))].join(', or ');
  }
  if (definition.title !== undefined) return definition.title;
  if (definition.enum !== undefined) return `one of ${definition.enum.map(String).join(', ')}`;
  if (definition.const !== undefined) return JSON.stringify(definition.const);
  switch (definition.type) {
    case 'string':
      return 'text';
    case 'boolean':
      return 'true or false';
    case 'integer':
    case 'number':
      return definition.minimum === undefined ? 'a number' : `a whole number, ${definition.minimum} or more`;
    case 'array': {
      const item = definition.items === undefined ? '' : ` of: ${expectationOf(definition.items)}`;
      return `a ${definition.minItems === undefined ? '' : 'non-empty '}list${item}`;
    }
    case 'object':
      return definition.properties === undefined
        ? 'a mapping'
        : `a mapping with the keys ${Object.keys(definition.properties).join(', ')}`;
    case 'null':
      return 'null';
    default:
      return 'another value';
  }
}

/** A valid value that stands in for a faulty one, so that the rest of the file can still be looked at. */
export function placeholderOf(definition: Definition): unknown {
  if (definition.examples !== undefined) return definition.examples[0];
  if (definition.default !== undefined) return definition.default;
  const branch = branchesOf(definition)[0] ?? {};
  if (branch !== definition) return placeholderOf(branch);
  if (definition.enum !== undefined) return definition.enum[0];
  if (definition.type === 'array') {
    return definition.minItems === undefined || definition.items === undefined
      ? []
      : [placeholderOf(definition.items)];
  }
  return definition.type === 'object' ? {} : 'placeholder';
}

/** Whether some written form of the key is a whole number, or true and false. */
export function acceptsType(definition: Definition, type: 'integer' | 'boolean'): boolean {
  return branchesOf(definition).some((branch) => branch.type === type);
}
