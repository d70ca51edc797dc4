import t from 'tap';
import { parseConfig } from '../../src/config/load.ts';

const rest = `
server: { public_url: https://forge.example.com }
upstream: { url: http://127.0.0.1:3000 }
session: { secrets: [0123456789abcdef0123456789abcdef] }
sources: [{ id: idp, issuer: https://idp.example.com, client_id: c, client_secret: s }]
`;
const listenOf = (text: string, env: Readonly<Record<string, string>>): string | undefined => {
  const loaded = parseConfig(text, 'sallyport.yaml', env);
  return loaded.ok ? loaded.config.operations.listen : undefined;
};
const image = { SALLYPORT_OPERATIONS_LISTEN: '0.0.0.0:9464' };

t.test("the image's operations.listen stands in where the file says nothing", (t) => {
  t.equal(listenOf(rest, {}), '127.0.0.1:9464');
  t.equal(listenOf(rest, { SALLYPORT_OPERATIONS_LISTEN: '' }), '127.0.0.1:9464');
  t.equal(listenOf(rest, image), '0.0.0.0:9464');
  t.equal(listenOf(`operations: { readiness_requires: [] }\n${rest}`, image), '0.0.0.0:9464');
  t.equal(listenOf(`operations: { listen: 127.0.0.1:9999 }\n${rest}`, image), '127.0.0.1:9999');
  t.end();
});

t.test('what the environment says about it is checked like what the file says', (t) => {
  t.equal(listenOf(rest, { SALLYPORT_OPERATIONS_LISTEN: 'nowhere' }), undefined);
  t.equal(
    listenOf(rest, { SALLYPORT_OPERATIONS_LISTEN: '0.0.0.0:4180' }),
    undefined,
    'the same as server.listen',
  );
  t.end();
});
