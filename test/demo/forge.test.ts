import { createServer } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import t from 'tap';
import { createForge } from '../../src/demo/forge.ts';
import { openLoopbackServer } from '../../src/demo/loopback-server.ts';
import { UserAgent } from '../support/user-agent.ts';

const { privateKey, publicKey } = await generateKeyPair('ES256');
const other = await generateKeyPair('ES256');
const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] });

const sallyport = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(jwks);
});
await new Promise<void>((resolve) => sallyport.listen(0, '127.0.0.1', resolve));
const address = sallyport.address();
const sallyportOrigin = `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`;
const server = await openLoopbackServer();
server.serve(createForge({ sallyportOrigin, pathPrefix: '/_sallyport', audience: server.origin }));
t.teardown(async () => {
  await server.close();
  sallyport.closeAllConnections();
  await new Promise((resolve) => sallyport.close(resolve));
});

const sign = (key: typeof privateKey, audience: string): Promise<string> =>
  new SignJWT({ sub: 'alice', aal: 'aal2' })
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .setIssuer(sallyportOrigin)
    .setAudience(audience)
    .setIssuedAt()
    .setExpirationTime('60s')
    .sign(key);

const visit = (headers: Readonly<Record<string, string>>) =>
  new UserAgent().request('GET', `${server.origin}/`, { headers, navigate: true });

t.test('who the identity headers name is greeted by name, UTF-8 included', async (t) => {
  const page = await visit({
    'x-webauth-user': 'carol',
    'x-webauth-fullname': Buffer.from('Carol Çelik', 'utf8').toString('latin1'),
  });
  t.match(page.body, 'Hello, Carol Çelik');
  t.match(page.body, 'carol/dotfiles');
});

t.test('without an identity header nobody is signed in', async (t) => {
  const page = await visit({});
  t.match(page.body, 'Nobody is signed in');
  t.notMatch(page.body, 'Hello');
});

t.test('the assertion is believed with the right signature and audience alone', async (t) => {
  const user = { 'x-webauth-user': 'alice' };
  const good = await visit({ ...user, 'x-sallyport-assertion': await sign(privateKey, server.origin) });
  t.match(good.body, 'verified against');
  t.match(good.body, '&quot;aal2&quot;');
  for (const [what, token] of [
    ['another key', await sign(other.privateKey, server.origin)],
    ['another audience', await sign(privateKey, 'http://elsewhere.example')],
    ['no token', 'nonsense'],
  ] as const) {
    const bad = await visit({ ...user, 'x-sallyport-assertion': token });
    t.match(bad.body, 'Not verified', what);
    t.notMatch(bad.body, 'verified against', what);
  }
  t.match((await visit(user)).body, 'no assertion came');
});

t.test('markup in a header is shown, not obeyed', async (t) => {
  const page = await visit({
    'x-webauth-user': '<img src=x onerror=alert(1)>',
    'x-webauth-fullname': '"><b>',
  });
  t.notMatch(page.body, '<img');
  t.notMatch(page.body, '"><b>');
  t.match(page.body, '&lt;img');
});
