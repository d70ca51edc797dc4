import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import t from 'tap';
import { UserAgent } from '../support/user-agent.ts';
import { askAsTool, basic, startStage } from './stage.ts';

const execute = promisify(execFile);

t.test('tools with their own credentials, through Sallyport to a real forge', async (t) => {
  const stage = await startStage();
  t.teardown(() => stage.close());
  const { origin, forge } = stage;
  const browser = await stage.signIn('alice');
  const token = await forge.createToken('alice');
  const ask = (method: string, path: string, headers: Record<string, string> = {}, body?: string | Buffer) =>
    askAsTool(origin, method, path, headers, body);
  const json = { 'content-type': 'application/json' };
  const asToken = { authorization: `token ${token}` };
  const created = await ask(
    'POST',
    '/api/v1/user/repos',
    { ...asToken, ...json },
    JSON.stringify({ name: 'tools', private: true, auto_init: true, default_branch: 'main' }),
  );
  t.equal(created.status, 201);

  t.test(
    'API v1: a token in each of its forms; asked for one without; a session from the browser',
    async (t) => {
      for (const authorization of [
        `token ${token}`,
        `Bearer ${token}`,
        basic('alice', token),
        basic(token, ''),
      ]) {
        const answer = await ask('GET', '/api/v1/user', { authorization });
        t.equal(answer.status, 200, authorization.slice(0, 8));
        t.match(answer.json(), { login: 'alice' });
      }
      const nobody = await ask('GET', '/api/v1/user');
      t.equal(nobody.status, 401);
      t.match(nobody.headers['www-authenticate'], /^Basic /);
      t.match((await browser.request('GET', `${origin}/api/v1/user`)).json(), { login: 'alice' });
    },
  );

  t.test('archives, raw files and media download with a token, and with nothing else', async (t) => {
    for (const path of [
      '/alice/tools/archive/main.tar.gz',
      '/alice/tools/archive/main.zip',
      '/alice/tools/raw/branch/main/README.md',
      '/alice/tools/media/branch/main/README.md',
      '/api/v1/repos/alice/tools/archive/main.tar.gz',
    ]) {
      const answer = await ask('GET', path, { authorization: basic('alice', token) });
      t.equal(answer.status, 200, path);
      t.ok(answer.bytes.length > 0, path);
      t.equal((await ask('GET', path)).status, 401, `${path} without`);
    }
  });

  t.test('the container registry: log in, push, pull', async (t) => {
    const challenge = await ask('GET', '/v2/');
    t.equal(challenge.status, 401);
    t.match(challenge.headers['www-authenticate'], /^Basic /, 'docker login is asked for a credential');
    t.equal((await ask('GET', '/v2/', { authorization: basic('alice', token) })).status, 200, 'docker login');
    const issued = await ask('GET', '/v2/token?service=container_registry&scope=*', {
      authorization: basic('alice', token),
    });
    t.equal(issued.status, 200);
    const { token: jwt } = issued.json() as { token: string };
    t.equal(jwt.split('.').length, 3, 'the registry’s own token is a JWT');

    for (const authorization of [basic('alice', token), `Bearer ${jwt}`]) {
      const push = async (bytes: Buffer) => {
        const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
        const begun = await ask('POST', '/v2/alice/image/blobs/uploads/', { authorization });
        t.equal(begun.status, 202);
        const location = new URL(begun.headers['location'] ?? '', origin);
        location.searchParams.set('digest', digest);
        const done = await ask('PUT', location.pathname + location.search, { authorization }, bytes);
        t.equal(done.status, 201, 'a blob');
        return { digest, size: bytes.length };
      };
      const config = Buffer.from(
        JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }),
      );
      const mediaType = 'application/vnd.oci.image.manifest.v1+json';
      const manifest = JSON.stringify({
        schemaVersion: 2,
        mediaType,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...(await push(config)) },
        layers: [
          { mediaType: 'application/vnd.oci.image.layer.v1.tar', ...(await push(randomBytes(70_000))) },
        ],
      });
      const put = await ask(
        'PUT',
        '/v2/alice/image/manifests/latest',
        { authorization, 'content-type': mediaType },
        manifest,
      );
      t.equal(put.status, 201, 'the manifest');
      const pulled = await ask('GET', '/v2/alice/image/manifests/latest', {
        authorization,
        accept: mediaType,
      });
      t.equal(pulled.status, 200);
      t.equal(pulled.body, manifest);
    }
  });

  t.test('generic packages: up with a token, down with a token', async (t) => {
    const path = '/api/packages/alice/generic/thing/1.0.0/thing.bin';
    const bytes = randomBytes(100_000);
    t.equal((await ask('PUT', path, {}, bytes)).status, 401, 'not without');
    t.equal((await ask('PUT', path, { authorization: basic('alice', token) }, bytes)).status, 201);
    t.equal((await ask('GET', path)).status, 401, 'not without');
    const answer = await ask('GET', path, { authorization: `Bearer ${token}` });
    t.ok(answer.bytes.equals(bytes));
  });

  t.test('npm itself publishes and reads', async (t) => {
    const folder = t.testdir();
    const registry = `${origin}/api/packages/alice/npm/`;
    mkdirSync(join(folder, 'package'));
    writeFileSync(
      join(folder, 'package', 'package.json'),
      JSON.stringify({ name: '@alice/interop', version: '1.0.0' }),
    );
    writeFileSync(
      join(folder, 'npmrc'),
      `@alice:registry=${registry}\n${registry.replace('http:', '')}:_authToken=${token}\n`,
    );
    const npm = (...args: string[]) =>
      execute('npm', [...args, '--userconfig', join(folder, 'npmrc'), '--cache', join(folder, 'cache')], {
        cwd: join(folder, 'package'),
        env: { PATH: process.env['PATH'], HOME: folder },
      });
    await npm('publish');
    const { stdout } = await npm('view', '@alice/interop', 'version');
    t.equal(stdout.trim(), '1.0.0');
  });

  t.test('NuGet pushes by its own header', async (t) => {
    const boundary = 'a-boundary-of-the-tests';
    const body = Buffer.concat([
      Buffer.from(
        `--${boundary}\r\nContent-Disposition: form-data; name="package"; filename="package.nupkg"\r\nContent-Type: application/octet-stream\r\n\r\n`,
      ),
      nugetPackage('Interop', '1.0.0'),
      Buffer.from(`\r\n--${boundary}--\r\n`),
    ]);
    const type = { 'content-type': `multipart/form-data; boundary=${boundary}` };
    const path = '/api/packages/alice/nuget/';
    t.equal((await ask('PUT', path, type, body)).status, 401, 'not without');
    t.equal(
      (await ask('PUT', path, { ...type, 'x-nuget-apikey': 'not-a-key' }, body)).status,
      401,
      'nor with nonsense',
    );
    t.equal((await ask('PUT', path, { ...type, 'x-nuget-apikey': token }, body)).status, 201);
    const index = await ask('GET', '/api/packages/alice/nuget/index.json', { 'x-nuget-apikey': token });
    t.equal(index.status, 200);
  });

  t.test('an actions runner registers, and polls', async (t) => {
    const secret = (await forge.cli('actions', 'generate-runner-token')).trim().split('\n').at(-1) ?? '';
    const call = (method: string, body: unknown, headers: Record<string, string> = {}) =>
      ask(
        'POST',
        `/api/actions/runner.v1.RunnerService/${method}`,
        { ...json, ...headers },
        JSON.stringify(body),
      );
    const registered = await call('Register', {
      name: 'runner',
      token: secret,
      version: 'v0.2.11',
      labels: ['ubuntu-latest:host'],
    });
    t.equal(registered.status, 200, 'without any header of its own');
    const { runner } = registered.json() as { runner: { uuid: string; token: string } };
    const own = { 'x-runner-uuid': runner.uuid, 'x-runner-token': runner.token };
    t.equal((await call('Declare', { version: 'v0.2.11', labels: ['ubuntu-latest'] }, own)).status, 200);
    t.equal((await call('FetchTask', { tasksVersion: '0' }, own)).status, 200, 'polling');
    const stranger = await call(
      'FetchTask',
      { tasksVersion: '0' },
      { ...own, 'x-runner-token': 'f'.repeat(40) },
    );
    t.ok(stranger.status >= 400, `the forge refuses a wrong runner token (${stranger.status})`);
    const ping = await ask('POST', '/api/actions/ping.v1.PingService/Ping', json, '{"data":"hello"}');
    t.match(ping.body, /hello/);
    for (const path of [
      '/api/actions_pipeline/_apis/pipelines/workflows/1/artifacts',
      '/twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact',
    ]) {
      const answer = await ask('POST', path, json, '{}');
      t.ok(answer.status >= 400, `${path}: ${answer.status}`);
      t.notMatch(answer.body, /session_required|request_id/, 'it is the forge that wants a task’s token');
    }
  });

  t.test('the forge’s own OAuth: discovery, keys, a whole code flow, userinfo, introspection', async (t) => {
    const discovery = await ask('GET', '/.well-known/openid-configuration');
    t.equal(discovery.status, 200);
    const metadata = discovery.json() as Record<string, string>;
    t.equal(metadata['issuer']?.replace(/\/$/, ''), origin);
    t.equal((await ask('GET', '/login/oauth/keys')).status, 200);

    const redirect = 'http://127.0.0.1:9/callback';
    const app = await ask(
      'POST',
      '/api/v1/user/applications/oauth2',
      { ...asToken, ...json },
      JSON.stringify({ name: 'ci', redirect_uris: [redirect], confidential_client: true }),
    );
    t.equal(app.status, 201);
    const client = app.json() as { client_id: string; client_secret: string };
    const query = new URLSearchParams({
      client_id: client.client_id,
      redirect_uri: redirect,
      response_type: 'code',
      scope: 'openid profile email',
      state: 'a-state',
    });
    const authorize = `${origin}/login/oauth/authorize?${query.toString()}`;
    const stranger = await new UserAgent().request('GET', authorize, { navigate: true });
    t.match(stranger.location, /_sallyport\/signin/, 'a stranger signs in first');

    const page = await browser.request('GET', authorize, { navigate: true });
    t.equal(page.status, 200, 'the user is asked by the forge');
    const form = new URLSearchParams();
    for (const [, name = '', value = ''] of page.body.matchAll(
      /<input type="hidden" name="([^"]+)" value="([^"]*)"/g,
    )) {
      form.append(name, value.replace(/&amp;/g, '&'));
    }
    form.set('granted', 'true');
    const grant = await browser.request('POST', `${origin}/login/oauth/grant`, {
      navigate: true,
      from: authorize,
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin },
      body: form.toString(),
    });
    t.match(grant.location, /^http:\/\/127\.0\.0\.1:9\/callback\?code=/, `granted (${grant.status})`);
    const code = new URL(grant.location ?? 'http://x/').searchParams.get('code') ?? '';

    const exchanged = await ask(
      'POST',
      '/login/oauth/access_token',
      {
        'content-type': 'application/x-www-form-urlencoded',
        authorization: basic(client.client_id, client.client_secret),
      },
      new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: redirect }).toString(),
    );
    t.equal(exchanged.status, 200, 'the client authenticates to the forge by its own means');
    const { access_token: accessToken } = exchanged.json() as { access_token: string };
    const userinfo = await ask('GET', '/login/oauth/userinfo', { authorization: `Bearer ${accessToken}` });
    t.equal(userinfo.status, 200);
    t.match(userinfo.json(), { preferred_username: 'alice', email: 'alice@example.com' });
    const api = await ask('GET', '/api/v1/user', { authorization: `Bearer ${accessToken}` });
    t.equal(api.status, 200, 'and its access token, a JWT, opens the API as far as the forge lets it');
    const introspected = await ask(
      'POST',
      '/login/oauth/introspect',
      {
        'content-type': 'application/x-www-form-urlencoded',
        authorization: basic(client.client_id, client.client_secret),
      },
      new URLSearchParams({ token: accessToken }).toString(),
    );
    t.match(introspected.json(), { active: true });
  });
});

/** The smallest NuGet package: a ZIP file with one stored entry. */
function nugetPackage(id: string, version: string): Buffer {
  const name = Buffer.from(`${id}.nuspec`);
  const data = Buffer.from(
    `<?xml version="1.0"?><package xmlns="http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd"><metadata><id>${id}</id><version>${version}</version><authors>a</authors><description>d</description></metadata></package>`,
  );
  const sizes = Buffer.alloc(16);
  sizes.writeUInt32LE(crc32(data), 0);
  sizes.writeUInt32LE(data.length, 4);
  sizes.writeUInt32LE(data.length, 8);
  sizes.writeUInt16LE(name.length, 12);
  const common = Buffer.concat([Buffer.from([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]), sizes]);
  const local = Buffer.concat([Buffer.from('PK\u0003\u0004', 'latin1'), common, name, data]);
  const central = Buffer.concat([
    Buffer.from('PK\u0001\u0002\u0014\u0000', 'latin1'),
    common,
    Buffer.alloc(14),
    name,
  ]);
  const end = Buffer.alloc(22);
  end.write('PK\u0005\u0006', 0, 'latin1');
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, central, end]);
}
