import { stringify } from 'yaml';
import { expectationOf, wholeDefinition } from './definition.ts';
import type { Definition } from './definition.ts';

const preamble = `# Configuration

<!-- Generated from src/config/schema.ts by \`npm run generate\`. -->

One YAML file, named by \`--config FILE\` or \`SALLYPORT_CONFIG\`. The smallest one is
[config/minimal.yaml](../config/minimal.yaml); examples for each identity provider and app stand beside it.

- **Editors** complete and check keys with [config/sallyport.schema.json](../config/sallyport.schema.json) (or what
  \`sallyport schema\` prints): put \`# yaml-language-server: $schema=sallyport.schema.json\` on the first line.
- **Mistakes** are all reported together, each with line, column, key path and cure. Exit status 2; nothing starts.
- **Environment**: \`\${NAME}\` and \`\${NAME:-default}\` inside a scalar value are filled in after parsing, so that a
  value never becomes structure; the default also stands in for an empty value. \`$\${\` is a literal \`\${\`. An unset name
  without default is a fault. Where a key wants a number or true/false, a value from the environment is read as one. In
  \`[ … ]\` and \`{ … }\` such a value needs quotes: \`["\${NAME}"]\`.
- **Secrets** have a \`…_file\` twin each; one trailing newline is dropped. Giving both is a fault. They never appear in log or report.
- **Container image**: where the file has no \`operations.listen\`, \`SALLYPORT_OPERATIONS_LISTEN\` is its default; the image sets 0.0.0.0:9464.
- **Durations** are \`250ms 30s 15m 12h 7d\`, **sizes** \`512B 64KiB 16MiB 2GiB\`.
- **Relative paths** of files start at the directory of the configuration file.
- **Anchors, aliases and merge keys** (\`<<\`) work; tags and several documents in one file do not.
`;

/** `docs/configuration.md`: each key with type, default, meaning and an example. */
export function formatReferencePage(): string {
  const sections = Object.entries(wholeDefinition().properties ?? {}).map(([name, definition]) => {
    const required = wholeDefinition().required?.includes(name) === true;
    return formatSection(name, definition, required);
  });
  return [preamble, ...sections].join('\n');
}

function formatSection(name: string, definition: Definition, required: boolean): string {
  const rows = keysBelow(definition, name, required);
  return [`## ${name}\n`, ...rows.map(formatKey)].join('\n');
}

interface Key {
  readonly key: string;
  readonly definition: Definition;
  readonly required: boolean;
}

/** A mapping, or a list of mappings, with everything below it, in the order of the definition. */
function keysBelow(definition: Definition, key: string, required: boolean): readonly Key[] {
  const listed = definition.items?.properties === undefined ? undefined : definition.items;
  const holder = listed ?? definition;
  const base = listed === undefined ? key : `${key}[]`;
  const below = Object.entries(holder.properties ?? {}).flatMap(([name, inner]) =>
    keysBelow(inner, `${base}.${name}`, holder.required?.includes(name) === true),
  );
  return [{ key, definition, required }, ...below];
}

function formatKey({ key, definition, required }: Key): string {
  const lines = [`### \`${key}\`\n`, definition.description ?? '', ''];
  const holdsKeys = definition.properties !== undefined || definition.items?.properties !== undefined;
  const type = holdsKeys
    ? definition.type === 'array'
      ? 'a list of mappings'
      : 'a mapping'
    : expectationOf(definition);
  lines.push(`- Type: ${type}`, `- Default: ${formatDefault(definition, required)}`);
  const example = definition.examples?.[0];
  if (example !== undefined) lines.push('', '```yaml', formatExample(key, example), '```');
  return `${lines.join('\n')}\n`;
}

function formatDefault(definition: Definition, required: boolean): string {
  if (required) return 'required';
  if (definition.default === undefined) return '– (unset)';
  if (definition.properties !== undefined) return 'see its keys';
  const value: unknown = definition.default;
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

function formatExample(key: string, example: unknown): string {
  const name = key.split('.').at(-1) ?? key;
  return stringify({ [name]: example }, { lineWidth: 0, flowCollectionPadding: false }).trimEnd();
}
