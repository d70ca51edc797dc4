import { wholeDefinition } from './definition.ts';
import type { Definition } from './definition.ts';

/** A scalar from the environment is text until it is filled in; an editor must not complain about it. */
const interpolated: Definition = { type: 'string', pattern: '\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}' };

/** The JSON Schema (draft 2020-12) of the configuration file, for editors; `config/sallyport.schema.json` is its text. */
export function configJsonSchema(): Readonly<Record<string, unknown>> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Sallyport configuration',
    description:
      'The one YAML file of Sallyport. What goes beyond this schema is checked when the file is loaded.',
    ...adapt(wholeDefinition()),
  };
}

/** The schema as it is committed and printed. */
export function formatJsonSchema(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}

/** Lets scalars come from the environment. */
function adapt(definition: Definition): Definition {
  const { properties, items, additionalProperties, anyOf } = definition;
  const adapted: Definition = {
    ...definition,
    ...(properties && { properties: adaptEach(properties) }),
    ...(items && { items: adapt(items) }),
    ...(typeof additionalProperties === 'object' && {
      additionalProperties: adapt(additionalProperties),
    }),
  };
  if (anyOf !== undefined) {
    const open = anyOf.some(isConstrainedScalar) && !anyOf.some(isFreeText);
    return { ...adapted, anyOf: open ? [...anyOf, interpolated] : anyOf };
  }
  return isConstrainedScalar(adapted) ? openToInterpolation(adapted) : adapted;
}

function adaptEach(properties: Readonly<Record<string, Definition>>): Record<string, Definition> {
  return Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, adapt(inner)]));
}

/** Annotations stay where editors look for them; what constrains moves into one branch of two. */
function openToInterpolation(definition: Definition): Definition {
  const { title, description, default: fallback, examples, ...constraints } = definition;
  return {
    ...(title !== undefined && { title }),
    ...(description !== undefined && { description }),
    ...(fallback !== undefined && { default: fallback }),
    ...(examples !== undefined && { examples }),
    anyOf: [constraints, interpolated],
  };
}

/** A scalar whose written form is more than "some text": an interpolation would not pass it. */
function isConstrainedScalar({ type, enum: values, const: constant, pattern }: Definition): boolean {
  const scalar = type === 'integer' || type === 'number' || type === 'boolean';
  return (
    scalar || (type === 'string' && (values !== undefined || constant !== undefined || pattern !== undefined))
  );
}

function isFreeText(definition: Definition): boolean {
  return definition.type === 'string' && !isConstrainedScalar(definition);
}
