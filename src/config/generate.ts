import { writeFile } from 'node:fs/promises';
import { formatJsonSchema } from './json-schema.ts';
import { formatReferencePage } from './reference-page.ts';

/* `npm run generate`: writes what follows from the definition; test/config/generated.test.ts holds it to that. */

const root = new URL('../../', import.meta.url);
await writeFile(new URL('config/sallyport.schema.json', root), formatJsonSchema());
await writeFile(new URL('docs/configuration.md', root), formatReferencePage());
