import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { parse } from 'yaml';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

interface Service {
  readonly network_mode?: string;
  readonly stop_grace_period?: string;
  readonly networks?: unknown;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly secrets?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
}

const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, unknown>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, unknown>>;
};
const config = parse(read('config/docker-compose.yaml')) as {
  readonly server: { readonly public_url: string };
  readonly operations: { readonly listen: string };
  readonly upstream: { readonly url: string };
  readonly sources: readonly { readonly id: string }[];
};
/** `KEY = value` of app.ini, by `section.KEY`. */
const ini = new Map<string, string>();
let section = '';
for (const line of read('config/forgejo/app.ini').split('\n')) {
  section = /^\[(.+)\]$/.exec(line)?.[1] ?? section;
  const [, key = '', value = ''] = /^([A-Z_]+) = (.*)$/.exec(line) ?? [];
  if (key !== '') ini.set(`${section}.${key}`, value);
}

t.test('the forge is reachable by Sallyport alone', async (t) => {
  const { services } = compose;
  t.equal(services['sallyport']?.network_mode, 'service:forgejo');
  const sharing = Object.entries(services).filter(([, { network_mode: mode }]) => mode === 'service:forgejo');
  t.strictSame(
    sharing.map(([name]) => name),
    ['sallyport'],
    'nobody else is in its namespace',
  );
  t.match(ini.get('server.HTTP_ADDR'), /^127\.0\.0\.1$/);
  t.equal(config.upstream.url, `http://127.0.0.1:${ini.get('server.HTTP_PORT') ?? ''}`);
  t.match(config.operations.listen, /^127\.0\.0\.1:/, 'nor are the metrics open to the namespace’s networks');
  t.strictSame(services['forgejo']?.ports, ['127.0.0.1:4180:4180'], 'what it publishes is Sallyport’s port');
  t.equal(ini.get('server.DISABLE_SSH'), 'true');
});

t.test('Sallyport is given the time that it takes to finish what runs', async (t) => {
  const { services } = compose;
  const granted = /^(\d+)s$/.exec(services['sallyport']?.stop_grace_period ?? '10s')?.[1];
  t.ok(Number(granted) > 32, 'server.shutdown_grace, and 2 s in which requests may still come');
});

t.test('every port is published on this machine alone', async (t) => {
  const ports = Object.values(compose.services).flatMap((service) => service.ports ?? []);
  t.ok(ports.length > 0);
  for (const port of ports) t.match(port, /^127\.0\.0\.1:/, port);
});

t.test('app.ini lets nobody in by another way', async (t) => {
  for (const [key, value] of Object.entries({
    'service.ENABLE_REVERSE_PROXY_AUTHENTICATION': 'true',
    'service.ENABLE_REVERSE_PROXY_AUTHENTICATION_API': 'true',
    'service.ENABLE_REVERSE_PROXY_AUTO_REGISTRATION': 'true',
    'service.ENABLE_REVERSE_PROXY_EMAIL': 'true',
    'service.ENABLE_REVERSE_PROXY_FULL_NAME': 'true',
    'service.ENABLE_BASIC_AUTHENTICATION': 'false',
    'service.ENABLE_PASSWORD_SIGNIN_FORM': 'false',
    'service.REQUIRE_SIGNIN_VIEW': 'true',
    'service.DISABLE_REGISTRATION': 'true',
    'security.INSTALL_LOCK': 'true',
    'security.DISABLE_QUERY_AUTH_TOKEN': 'true',
    'openid.ENABLE_OPENID_SIGNIN': 'false',
  })) {
    t.equal(ini.get(key), value, key);
  }
  t.match(
    ini.get('admin.USER_DISABLED_FEATURES'),
    /change_username/,
    'nobody takes a name before its owner comes',
  );
  t.equal(ini.get('server.ROOT_URL'), `${config.server.public_url}/`);
});

t.test('what the file names exists', async (t) => {
  for (const [name, service] of Object.entries(compose.services)) {
    for (const volume of service.volumes ?? []) {
      const source = volume.split(':')[0] ?? '';
      if (source.startsWith('./')) t.ok(existsSync(new URL(source, root)), `${name}: ${source}`);
      else t.ok(source in compose.volumes, `${name}: volume ${source}`);
    }
    const networks = Array.isArray(service.networks)
      ? (service.networks as string[])
      : Object.keys(service.networks ?? {});
    for (const network of networks) t.ok(network in compose.networks, `${name}: network ${network}`);
    for (const secret of service.secrets ?? []) t.ok(secret in compose.secrets, `${name}: secret ${secret}`);
    for (const other of Object.keys(service.depends_on ?? {}))
      t.ok(other in compose.services, `${name}: ${other}`);
    t.notOk(networks.length > 0 && service.network_mode !== undefined, `${name}: one or the other`);
  }
});

t.test('no secret that is made for it can be committed, or get into the image', async (t) => {
  const files = Object.values(compose.secrets).map((secret) => (secret as { readonly file: string }).file);
  t.ok(files.length > 0);
  const ignored = read('.gitignore').split('\n');
  for (const file of files) t.ok(ignored.includes(`${file.split('/')[1] ?? ''}/`), file);
  const context = read('.dockerignore').split('\n');
  t.ok(context.includes('*'), 'nothing goes along');
  t.notOk(context.some((line) => line.startsWith('!secrets')));
});

t.test('the realm to try it out with knows this Sallyport', async (t) => {
  const realm = JSON.parse(read('config/keycloak/realm.json')) as {
    readonly attributes: Readonly<Record<string, string>>;
    readonly browserFlow: string;
    readonly authenticationFlows: readonly { readonly alias: string }[];
    readonly clients: readonly { readonly redirectUris: readonly string[] }[];
  };
  const [source] = config.sources;
  t.strictSame(realm.clients[0]?.redirectUris, [
    `${config.server.public_url}/_sallyport/callback/${source?.id ?? ''}`,
  ]);
  t.equal((JSON.parse(realm.attributes['acr.loa.map'] ?? '{}') as Record<string, number>)['gold'], 2);
  t.ok(realm.authenticationFlows.some(({ alias }) => alias === realm.browserFlow));
});
