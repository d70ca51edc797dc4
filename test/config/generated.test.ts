import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import t from 'tap';
import { wholeDefinition } from '../../src/config/definition.ts';
import type { Definition } from '../../src/config/definition.ts';
import { formatJsonSchema } from '../../src/config/json-schema.ts';
import { formatReferencePage } from '../../src/config/reference-page.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

t.test(
  'the committed JSON Schema and reference page are those of the definition: npm run generate',
  async (t) => {
    t.ok(read('config/sallyport.schema.json') === formatJsonSchema(), 'config/sallyport.schema.json');
    t.ok(read('docs/configuration.md') === formatReferencePage(), 'docs/configuration.md');
  },
);

t.test('every key has a meaning, and an example that is valid', async (t) => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
  const page = formatReferencePage();
  const visit = (definition: Definition, key: string): void => {
    if (key !== '') {
      t.match(definition.description, /\w.*\.$/s, `${key} has a description`);
      t.ok(page.includes(`### \`${key}\`\n`) || key.endsWith('[]'), `${key} stands in the reference page`);
    }
    const mapping = definition.properties !== undefined || definition.items?.properties !== undefined;
    if (!mapping) t.ok((definition.examples ?? []).length > 0, `${key} has an example`);
    for (const example of definition.examples ?? []) {
      t.ok(ajv.validate(definition, example), `${key}: ${JSON.stringify(example)}`);
    }
    if (definition.default !== undefined)
      t.ok(ajv.validate(definition, definition.default), `${key}: its default`);
    for (const [name, inner] of Object.entries(definition.properties ?? {})) {
      visit(inner, key === '' ? name : `${key}.${name}`);
    }
    if (definition.items?.properties !== undefined) visit(definition.items, `${key}[]`);
  };
  visit(wholeDefinition(), '');
});

t.test('the reference page names default and requirement', async (t) => {
  const page = formatReferencePage();
  t.match(page, /### `session\.idle_timeout`\n[^#]*- Default: `8h`\n/);
  t.match(page, /### `upstream\.url`\n[^#]*- Default: required\n/);
});
