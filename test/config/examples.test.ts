import { readdirSync, readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import t from 'tap';
import { readDocument } from '../../src/config/document.ts';
import { configJsonSchema } from '../../src/config/json-schema.ts';
import { Workshop, readFixture } from './workshop.ts';

const workshop = new Workshop();
workshop.furnish();
t.teardown(() => workshop.clear());

const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(configJsonSchema());

/** Without the environment: as an editor sees it. */
function asWritten(text: string): unknown {
  return readDocument(text.replaceAll('${', '$${'), 'f.yaml', {}).document?.value;
}

function fitsSchema(text: string): boolean {
  return validate(asWritten(text));
}

const configDirectory = new URL('../../config/', import.meta.url);
const examples = ['idp/', 'upstream/', 'forward-auth/', 'redis/', './'].flatMap((folder) =>
  readdirSync(new URL(folder, configDirectory))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => new URL(`${folder}${name}`, configDirectory))
    .filter((url) => /^sources:/m.test(readFileSync(url, 'utf8'))),
);

t.test('there is an example for every vendor and every upstream that the documentation names', async (t) => {
  const names = examples.map((url) => url.pathname.replace(/^.*\/config\//, ''));
  const idps = [
    'entra',
    'okta',
    'google',
    'auth0',
    'keycloak',
    'authentik',
    'authelia',
    'zitadel',
    'ping',
    'login-gov',
  ];
  for (const idp of idps) t.ok(names.includes(`idp/${idp}.yaml`), idp);
  for (const app of ['forgejo', 'gitea', 'grafana', 'generic'])
    t.ok(names.includes(`upstream/${app}.yaml`), app);
  for (const kind of ['sentinel', 'cluster']) t.ok(names.includes(`redis/${kind}.yaml`), kind);
  t.ok(names.includes('minimal.yaml'));
});

t.test('every example under config/ loads, its files given, and fits the JSON Schema', async (t) => {
  for (const url of examples) {
    const text = readFileSync(url, 'utf8');
    const loaded = await workshop.load(text);
    t.equal(loaded.ok ? '' : loaded.report, '', url.pathname);
    t.ok(fitsSchema(text), `${url.pathname}: ${JSON.stringify(validate.errors)}`);
  }
});

t.test('the smallest file of the specification loads as it is, and is config/minimal.yaml', async (t) => {
  const text = readFixture('smallest.yaml');
  const loaded = await workshop.load(text);
  t.equal(loaded.ok ? '' : loaded.report, '');
  t.ok(fitsSchema(text), JSON.stringify(validate.errors));
  t.same(asWritten(text), asWritten(readFileSync(new URL('minimal.yaml', configDirectory), 'utf8')));
});

t.test('the JSON Schema knows variables, wrong values and unknown keys', async (t) => {
  const text = readFixture('smallest.yaml');
  t.ok(fitsSchema(`${text}log: { level: "\${LEVEL:-info}", access: "\${ACCESS}" }\n`));
  t.ok(fitsSchema(text.replace('\nupstream:', '\n  workers: ${N}\n  shutdown_grace: ${GRACE}\nupstream:')));
  t.notOk(fitsSchema(`${text}log: { level: infos }\n`));
  t.notOk(fitsSchema(`${text}log: { levels: info }\n`));
  t.notOk(fitsSchema(`${text}log: { access: "yes" }\n`));
  t.notOk(fitsSchema(text.replace('public_url', 'public_ulr')));
  t.notOk(fitsSchema(text.replace('\nupstream:', '\n  shutdown_grace: 30 s\nupstream:')));
  t.notOk(fitsSchema(text.replace('\nupstream:', '\n  workers: 0\nupstream:')));
});
