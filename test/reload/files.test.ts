import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { stringify } from 'yaml';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { until } from '../support/until.ts';
import { applied, openDesk, refused, soundConfig, startReplica } from './stage.ts';

const tls = (name: string): string => fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));
const upstream = await startEchoUpstream();
t.teardown(() => upstream.close());

const open = [{ name: 'open', path: '/open/**', access: 'public' }];

t.test(
  'a file that an editor renames over the old one is applied; what is only touched is not',
  async (t) => {
    const desk = openDesk();
    const { origin, config } = await soundConfig(upstream.url);
    desk.write(config);
    const replica = await startReplica(desk.path);
    t.teardown(async () => {
      await replica.close();
      desk.clear();
    });
    t.equal((await fetch(`${origin}/open/x`)).status, 401);
    const startedAt = (await replica.metric('sallyport_config_last_reload_success_timestamp_seconds')) ?? 0;
    t.ok(startedAt > 1_600_000_000, 'the start counts as a reading');

    desk.write({ ...config, routes: open });
    await until(() => replica.told(applied).length === 1, 'the change is applied');
    t.equal((await fetch(`${origin}/open/x`)).status, 200);
    t.equal(await replica.metric('sallyport_config_reloads_total{result="applied"}'), 1);

    utimesSync(desk.path, new Date(), new Date());
    desk.write({ ...config, routes: open });
    desk.write({ ...config, routes: [] });
    await until(() => replica.told(applied).length === 2, 'the next change is applied');
    t.equal((await fetch(`${origin}/open/x`)).status, 401);
    t.match(replica.told(applied)[0], { trigger: 'file', sources_added: [], sources_removed: [] });
  },
);

t.test(
  'a bad file changes nothing, says everything that is wrong with it, and leaves the process ready',
  async (t) => {
    const desk = openDesk();
    const { origin, config } = await soundConfig(upstream.url);
    desk.write({ ...config, routes: open });
    const replica = await startReplica(desk.path);
    t.teardown(async () => {
      await replica.close();
      desk.clear();
    });
    const secret = join(desk.directory, 'late-secret');
    const issuer = 'http://127.0.0.1:9';
    const sources = [{ id: 'idp', issuer, client_id: 'forge', client_secret_file: secret }];
    const bad = { ...config, sources, routes: [{ ...open[0], acess: 'deny' }] };
    desk.write(bad);
    await until(() => replica.told(refused).length === 1, 'the file is refused');
    const { report } = replica.told(refused)[0] as { report: string };
    t.match(report, 'acess');
    t.match(report, 'does not exist');
    t.match(report, /sallyport\.yaml:\d+:\d+/, 'with its place');
    t.equal((await fetch(`${origin}/open/x`)).status, 200);
    t.equal((await fetch(`http://${replica.app.operations}/readyz`)).status, 200);
    t.equal(await replica.metric('sallyport_config_reloads_total{result="refused"}'), 1);
    t.equal(await replica.metric('sallyport_config_last_reload_successful'), 0);

    t.test('and is applied when the file that it lacked is there', async (t) => {
      desk.write({ ...config, sources });
      await until(() => replica.told(refused).length === 2, 'still refused: the secret is not there yet');
      writeFileSync(secret, 'a secret that comes later than the file that names it\n');
      await until(() => replica.told(applied).length === 1, 'applied');
      t.equal((await fetch(`${origin}/open/x`)).status, 401);
      t.equal(await replica.metric('sallyport_config_last_reload_successful'), 1);
    });
  },
);

t.test("a ConfigMap's symlink swap is one change", async (t) => {
  const desk = openDesk();
  const { origin, config } = await soundConfig(upstream.url);
  const mount = join(desk.directory, 'mount');
  /** As the kubelet does it: a new directory, a new link, renamed over `..data`. */
  const publish = (version: string, routes: unknown): void => {
    mkdirSync(join(mount, `..${version}`), { recursive: true });
    writeFileSync(join(mount, `..${version}`, 'sallyport.yaml'), stringify({ ...config, routes }));
    symlinkSync(`..${version}`, join(mount, '..data_tmp'));
    renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
  };
  publish('2026_1', []);
  symlinkSync('..data/sallyport.yaml', join(mount, 'sallyport.yaml'));
  const replica = await startReplica(join(mount, 'sallyport.yaml'));
  t.teardown(async () => {
    await replica.close();
    desk.clear();
  });
  for (const [version, routes, status] of [
    ['2026_2', open, 200],
    ['2026_3', [], 401],
    ['2026_4', open, 200],
  ] as const) {
    const before = replica.told(applied).length;
    publish(version, routes);
    rmSync(join(mount, '..2026_1'), { recursive: true, force: true });
    await until(() => replica.told(applied).length === before + 1, version);
    t.equal((await fetch(`${origin}/open/x`)).status, status, version);
  }
  t.equal(replica.told(applied).length, 3);
});

t.test('a secret that is rotated in its file is taken up', async (t) => {
  const desk = openDesk();
  const { config } = await soundConfig(upstream.url);
  const secret = join(desk.directory, 'client-secret');
  writeFileSync(secret, 'the-first\n');
  const source = { id: 'idp', issuer: 'http://127.0.0.1:9', client_id: 'forge', client_secret_file: secret };
  desk.write({ ...config, sources: [source] });
  const replica = await startReplica(desk.path);
  t.teardown(async () => {
    await replica.close();
    desk.clear();
  });
  writeFileSync(secret, 'the-second\n');
  await until(() => replica.told(applied).length === 1, 'applied');
  t.notMatch(replica.log.text, /the-first|the-second/);
});

t.test('what needs a restart is named, and the rest of the file is applied', async (t) => {
  const desk = openDesk();
  const { origin, config } = await soundConfig(upstream.url);
  desk.write(config);
  const replica = await startReplica(desk.path);
  t.teardown(async () => {
    await replica.close();
    desk.clear();
  });
  desk.write({
    ...config,
    server: { ...(config['server'] as object), listen: '127.0.0.1:1', path_prefix: '/elsewhere' },
    routes: open,
  });
  const warning = await until(() => replica.told(/^not applied before a restart/)[0], 'the warning');
  t.same(warning['keys'], ['server.listen', 'server.path_prefix']);
  t.equal((await fetch(`${origin}/open/x`)).status, 200);
  t.equal((await fetch(`${origin}/_sallyport/whoami`)).status, 401, 'the prefix is still the old one');
});

t.test('an upstream that moves is followed, and so are the proxies that are believed', async (t) => {
  const desk = openDesk();
  const other = await startEchoUpstream();
  const { origin, config } = await soundConfig(upstream.url);
  desk.write({ ...config, routes: open });
  const replica = await startReplica(desk.path);
  t.teardown(async () => {
    await replica.close();
    await other.close();
    desk.clear();
  });
  const ask = () => fetch(`${origin}/open/where`, { headers: { 'x-forwarded-for': '192.0.2.7' } });
  await ask();
  t.equal(upstream.seen.at(-1)?.headers['x-forwarded-for'], '127.0.0.1');
  desk.write({
    ...config,
    routes: open,
    upstream: { url: other.url },
    server: { ...(config['server'] as object), trusted_proxies: ['127.0.0.0/8'] },
  });
  await until(() => replica.told(applied).length === 1, 'applied');
  await ask();
  t.equal(other.seen.at(-1)?.url, '/open/where');
  t.equal(other.seen.at(-1)?.headers['x-forwarded-for'], '192.0.2.7');
});

t.test('TLS: other certificate files, and what is written into them, are taken up', async (t) => {
  const desk = openDesk();
  const at = (name: string): string => join(desk.directory, name);
  for (const name of ['app.pem', 'app.key', 'other.pem', 'other.key']) copyFileSync(tls(name), at(name));
  const { config } = await soundConfig(upstream.url);
  const server = { ...(config['server'] as Record<string, unknown>) };
  const [host, port] = String(server['listen']).split(':');
  server['public_url'] = `https://127.0.0.1:${port}`;
  const using = (name: string): Record<string, unknown> => ({
    ...config,
    server: { ...server, tls: { cert_file: at(`${name}.pem`), key_file: at(`${name}.key`) } },
  });
  desk.write(using('app'));
  const replica = await startReplica(desk.path);
  t.teardown(async () => {
    await replica.close();
    desk.clear();
  });
  const shown = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      });
      socket.once('error', reject);
    });
  t.equal(await shown(), 'app.internal');
  desk.write(using('other'));
  await until(async () => (await shown()) === 'other.internal', 'the other files');
  writeFileSync(at('other.key'), readFileSync(tls('app.key')));
  writeFileSync(at('other.pem'), readFileSync(tls('app.pem')));
  await until(async () => (await shown()) === 'app.internal', 'their new content');
});
