import t from 'tap';
import type { RawResponse } from '../support/raw-http.ts';
import { RawClient } from '../support/raw-http.ts';
import { startRawUpstream } from '../support/upstream.ts';
import type { RawAnswer, SeenRequest } from '../support/upstream.ts';
import { startHarness, temporaryDirectory } from './harness.ts';
import { startNginx } from './nginx.ts';
import { comparisonCases } from './nginx-cases.ts';
import type { ComparisonCase, Observation } from './nginx-cases.ts';

/** Headers that are each proxy's own affair. */
const ownAffairs = new Set(['date', 'server', 'connection', 'keep-alive']);
/** What nginx's and our own error pages say differs, as it should. */
const errorPage = (response: RawResponse): boolean =>
  response.body.toString().includes('<center>nginx') ||
  response.body.toString().includes('"error"') ||
  /^[A-Z][A-Za-z ]+\n$/.test(response.body.toString());

const hopByHop = /^(connection|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.*|x-hop|expect)$/i;

/** What is compared: everything that the two ends can notice. */
function observe(response: RawResponse, seen: SeenRequest | undefined): Observation {
  const own = response.status >= 400 && errorPage(response);
  const framing = (headers: readonly (readonly [string, string])[]): string =>
    headers
      .filter(([name]) => /^(content-length|transfer-encoding)$/i.test(name))
      .map(([name, value]) => `${name.toLowerCase()}: ${value}`)
      .join(', ');
  return {
    status: response.status,
    interim: response.interim.map(({ status }) => status),
    answer: own
      ? "the proxy's own"
      : {
          reason: response.statusLine.split(' ').slice(2).join(' '),
          headers: response.headers
            .filter(([name]) => !ownAffairs.has(name.toLowerCase()))
            .map(([name, value]) => `${name}: ${value}`)
            // Order counts among headers of one name only.
            .sort((a, b) => nameOf(a).localeCompare(nameOf(b))),
          body: response.body.toString('latin1'),
          complete: response.complete,
          trailers: response.trailers.map((pair) => pair.join(': ')),
        },
    seen:
      seen === undefined
        ? 'nothing'
        : {
            line: seen.line.replace(/a{1000,}/, (long) => `a × ${long.length}`),
            framing: framing(seen.headers),
            body: seen.body.toString('latin1'),
            hopByHop: seen.headers
              .filter(([name]) => hopByHop.test(name) && !/^(connection|transfer-encoding)$/i.test(name))
              .map(([name]) => name.toLowerCase()),
          },
  };
}

function nameOf(row: string): string {
  return row.slice(0, row.indexOf(':')).toLowerCase();
}

/** The named observations of one side, `answer.body` for what lies deeper. */
function pick(observation: Observation, paths: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    paths.map((path) => [
      path,
      path
        .split('.')
        .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], observation),
    ]),
  );
}

/** Where two observations differ, as deep as both have the same shape. */
function differingPaths(one: unknown, other: unknown, path = ''): string[] {
  if (JSON.stringify(one) === JSON.stringify(other)) return [];
  const isTree = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isTree(one) || !isTree(other)) return [path];
  return Object.keys(one).flatMap((key) =>
    differingPaths(one[key], other[key], path === '' ? key : `${path}.${key}`),
  );
}

t.test('answer by answer, Sallyport does what nginx does', async (t) => {
  const ok: RawAnswer = async ({ socket, body }) => {
    await body();
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  };
  let answer: RawAnswer = ok;
  const upstream = await startRawUpstream((exchange) => answer(exchange));
  const nginx = await startNginx(
    temporaryDirectory((fn) => t.teardown(fn)),
    upstream.port,
  );
  const harness = await startHarness({ upstream: upstream.url, accessLog: false });
  const cookie = await harness.signIn();
  t.teardown(async () => {
    await nginx.close();
    await harness.close();
    await upstream.close();
  });

  async function run(target: number | { path: string }, each: ComparisonCase): Promise<Observation> {
    answer = each.answer ?? ok;
    const before = upstream.seen.length;
    const client = new RawClient(target);
    client.send(each.request.replaceAll('HOST', harness.host).replaceAll('COOKIE', cookie));
    if (each.afterwards !== undefined) {
      await client.until(
        () => client.buffered !== '' || upstream.seen.length > before || client.closed !== 'open',
      );
      client.send(each.afterwards);
    }
    const response = await client.response(each.method, 5_000);
    const observed = observe(response, upstream.seen[before]);
    client.close();
    return observed;
  }

  for (const each of comparisonCases) {
    const theirs = await run({ path: nginx.path }, each);
    const ours = await run(harness.port, each);
    const { nginx: listedTheirs = {}, sallyport: listedOurs = {} } = each.differs ?? {};
    const paths = differingPaths(theirs, ours).sort();
    t.strictSame(
      paths,
      Object.keys(listedOurs).sort(),
      `${each.title}: differs where listed, and nowhere else`,
    );
    t.strictSame(pick(ours, Object.keys(listedOurs)), listedOurs, `${each.title}: as listed for Sallyport`);
    t.strictSame(pick(theirs, Object.keys(listedTheirs)), listedTheirs, `${each.title}: as listed for nginx`);
  }
  t.end();
});
