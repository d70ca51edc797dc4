import { readdir, readFile, writeFile } from 'node:fs/promises';
import { formatAuditSchema } from '../audit/schema.ts';
import { fillGuide, type GuideSources, type VendorFacts } from './guides.ts';

/*
 * The other half of `npm run generate`: what follows from the audit events and from the assurance room. The tests in
 * test/audit/schema.test.ts and test/docs/guides.test.ts hold the committed files to it.
 */

const root = new URL('../../', import.meta.url);
await writeFile(new URL('config/audit-events.schema.json', root), formatAuditSchema());

const examples = new Map<string, string>();
for (const file of await readdir(new URL('config/idp/', root))) {
  examples.set(file.replace(/\.yaml$/, ''), await readFile(new URL(`config/idp/${file}`, root), 'utf8'));
}
const facts = JSON.parse(
  await readFile(new URL('test/fixtures/idp-claims.json', root), 'utf8'),
) as readonly VendorFacts[];
const sources: GuideSources = { exampleOf: (name) => examples.get(name) ?? '', facts };

const guides = new URL('docs/idp/', root);
for (const file of (await readdir(guides)).filter((name) => name.endsWith('.md'))) {
  const url = new URL(file, guides);
  await writeFile(url, fillGuide(await readFile(url, 'utf8'), sources));
}
