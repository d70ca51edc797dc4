import type { IncomingMessage } from 'node:http';
import t from 'tap';
import { isWebSocketUpgrade, trustTest } from '../../src/proxy/edge.ts';
import { exchange, headerOf } from '../support/raw-http.ts';
import { until } from '../support/until.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { startHarness } from './harness.ts';

const routes = [{ name: 'open', path: '/**', access: 'public' }] as const;
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

t.test('only our own hosts are answered', async (t) => {
  const upstream = await startRawUpstream(({ socket }) => void socket.write(ok));
  const harness = await startHarness({
    upstream: upstream.url,
    routes: [...routes],
    server: { public_url: ['https://forge.example.com', 'http://127.0.0.1:4180'] },
  });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const expected: Record<string, number> = {
    'Host: forge.example.com\r\n': 200,
    'Host: FORGE.example.com\r\n': 200,
    'Host: forge.example.com:443\r\n': 200,
    'Host: 127.0.0.1:4180\r\n': 200,
    'Host: forge.example.com:80\r\n': 421,
    'Host: forge.example.com:8443\r\n': 421,
    'Host: evil.example.com\r\n': 421,
    'Host: forge.example.com.evil.example\r\n': 421,
    'Host: forge.example.com, evil.example\r\n': 421,
    'Host: \r\n': 400,
    '': 400,
    'Host: forge.example.com\r\nhost: forge.example.com\r\n': 400,
    'X-Forwarded-Host: forge.example.com\r\nHost: evil.example.com\r\n': 421,
  };
  for (const [headers, status] of Object.entries(expected)) {
    for (const target of ['/x', '/_sallyport/whoami']) {
      const answer = await exchange(harness.port, `GET ${target} HTTP/1.1\r\n${headers}\r\n`);
      t.equal(answer.status, status, JSON.stringify(headers));
    }
  }
  await until(() => harness.entries.length >= Object.keys(expected).length * 2, 'all of them are logged');
  t.same(
    harness.entries.map(({ status }) => status),
    Object.values(expected).flatMap((status) => [status, status]),
    'each of them once, refused or not',
  );
  t.ok(
    harness.entries.every(({ durationMs }) => durationMs < 10_000 && durationMs >= 0),
    'for as long as it took',
  );
  await exchange(harness.port, 'GET /x HTTP/1.1\r\nHost: FORGE.example.com:443\r\n\r\n');
  const seen = upstream.seen.at(-1)!;
  t.equal(headerOf(seen, 'host'), 'forge.example.com', 'the upstream gets the host that was judged');
  t.equal(headerOf(seen, 'x-forwarded-proto'), 'https');
  t.equal(headerOf(seen, 'x-forwarded-host'), 'forge.example.com');
});

t.test('nobody is believed about addresses by default', async (t) => {
  const upstream = await startRawUpstream(({ socket }) => void socket.write(ok));
  const harness = await startHarness({ upstream: upstream.url, routes: [...routes] });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  for (let i = 0; i < 3; i += 1) {
    await exchange(
      harness.port,
      'GET /x HTTP/1.1\r\nHost: forge.example.com\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\n',
    );
  }
  const seen = upstream.seen.at(-1)!;
  t.strictSame(
    seen.headers.filter(([name]) => /forwarded-for|real-ip|^forwarded$/i.test(name)),
    [
      ['X-Forwarded-For', '127.0.0.1'],
      ['X-Real-IP', '127.0.0.1'],
    ],
  );
  t.equal(harness.warnings.length, 1, 'and that is said once');
});

t.test('trusted proxies are believed, hop by hop from the right', async (t) => {
  const upstream = await startRawUpstream(({ socket }) => void socket.write(ok));
  const harness = await startHarness({
    upstream: upstream.url,
    routes: [...routes],
    server: { trusted_proxies: ['127.0.0.1', '10.0.0.0/8', 'fd00::/8'] },
  });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const clientOf: Record<string, string> = {
    '1.2.3.4': '1.2.3.4',
    '6.6.6.6, 1.2.3.4': '1.2.3.4',
    '1.2.3.4, 10.1.1.1': '1.2.3.4',
    '6.6.6.6, 1.2.3.4, 10.1.1.1, 10.2.2.2': '1.2.3.4',
    '10.9.9.9, 10.1.1.1': '10.9.9.9',
    '1.2.3.4:5678': '1.2.3.4',
    '[2001:db8::1]:99': '2001:db8::1',
    '2001:db8::1, fd00::2': '2001:db8::1',
    '::ffff:1.2.3.4': '1.2.3.4',
    nonsense: '127.0.0.1',
    '1.2.3.4, nonsense, 10.1.1.1': '10.1.1.1',
    '': '127.0.0.1',
  };
  for (const [forwarded, client] of Object.entries(clientOf)) {
    await exchange(
      harness.port,
      `GET /x HTTP/1.1\r\nHost: forge.example.com\r\nX-Forwarded-For: ${forwarded}\r\n\r\n`,
    );
    t.equal(headerOf(upstream.seen.at(-1)!, 'x-forwarded-for'), client, forwarded);
  }
  const renamed = await exchange(
    harness.port,
    'GET /x HTTP/1.1\r\nHost: sallyport.internal\r\nX-Forwarded-Host: forge.example.com\r\nX-Forwarded-Proto: https\r\n\r\n',
  );
  t.equal(renamed.status, 200);
  t.equal(headerOf(upstream.seen.at(-1)!, 'host'), 'forge.example.com');
  // Proxies append: what stands further left is what the client has sent them.
  for (const [hosts, status] of [
    ['evil.example.com, forge.example.com', 200],
    ['forge.example.com, evil.example.com', 421],
  ] as const) {
    const answer = await exchange(
      harness.port,
      `GET /x HTTP/1.1\r\nHost: sallyport.internal\r\nX-Forwarded-Host: ${hosts}\r\n\r\n`,
    );
    t.equal(answer.status, status, hosts);
  }
});

t.test('trust is a matter of the address alone: of one family none of the other is trusted', async (t) => {
  const four = trustTest(['127.0.0.1', '10.0.0.0/8']);
  const six = trustTest(['::1', 'fd00::/8']);
  const any4 = trustTest(['0.0.0.0/0']);
  for (const [address, byFour, bySix] of [
    ['127.0.0.1', true, false],
    ['127.0.0.2', false, false],
    ['10.255.0.1', true, false],
    ['::ffff:10.0.0.1', true, false],
    ['::1', false, true],
    ['fd12::1', false, true],
    ['fe80::1', false, false],
    ['', false, false],
    ['unknown', false, false],
  ] as const) {
    t.equal(four(address), byFour, `${address}, IPv4`);
    t.equal(six(address), bySix, `${address}, IPv6`);
  }
  t.equal(any4('2001:db8::1'), false);
  t.equal(trustTest([])('127.0.0.1'), false);
});

t.test('only an HTTP/1.1 GET asks for a WebSocket', async (t) => {
  const ask = (method: string, httpVersionMinor: number, upgrade: string | undefined) => {
    const raw: unknown = { method, httpVersionMinor, headers: { upgrade } };
    return isWebSocketUpgrade(raw as IncomingMessage);
  };
  t.ok(ask('GET', 1, 'websocket'));
  t.ok(ask('GET', 1, 'WebSocket'));
  t.notOk(ask('GET', 0, 'websocket'), 'RFC 9110 section 7.8: ignored with HTTP/1.0');
  t.notOk(ask('POST', 1, 'websocket'));
  t.notOk(ask('GET', 1, 'h2c'));
  t.notOk(ask('GET', 1, undefined));
});

t.test('request ids are ours, a traceparent passes only when well-formed', async (t) => {
  const upstream = await startRawUpstream(({ socket }) => void socket.write(ok));
  const harness = await startHarness({ upstream: upstream.url, routes: [...routes] });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const good = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const ids = new Set<string | undefined>();
  for (const [value, passes] of [
    [good, true],
    [good.toUpperCase(), false],
    [`00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, false],
    ['x', false],
  ] as const) {
    await exchange(
      harness.port,
      `GET /x HTTP/1.1\r\nHost: forge.example.com\r\nTraceParent: ${value}\r\ntracestate: a=1\r\nX-Request-Id: mine\r\n\r\n`,
    );
    const seen = upstream.seen.at(-1)!;
    t.equal(headerOf(seen, 'traceparent'), passes ? value : undefined);
    t.equal(headerOf(seen, 'tracestate'), passes ? 'a=1' : undefined);
    ids.add(headerOf(seen, 'x-request-id'));
    t.equal(seen.headers.filter(([name]) => name.toLowerCase() === 'x-request-id').length, 1);
  }
  t.equal(ids.size, 4);
  t.notOk(ids.has('mine'));
});

t.test('oversized heads get 431, what is no HTTP gets 400, slow heads 408: each is counted', async (t) => {
  const unreadable: number[] = [];
  const upstream = await startRawUpstream(({ socket }) => void socket.write(ok));
  const harness = await startHarness({
    upstream: upstream.url,
    routes: [...routes],
    server: { max_header_size: '8KiB' },
    meter: { unreadableRequest: (status) => void unreadable.push(status) },
  });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const big = await exchange(
    harness.port,
    `GET / HTTP/1.1\r\nHost: forge.example.com\r\nX: ${'a'.repeat(9_000)}\r\n\r\n`,
  );
  t.equal(big.status, 431);
  t.equal(big.body.toString(), 'Request Header Fields Too Large\n');
  t.equal((await exchange(harness.port, 'SSH-2.0\r\n\r\n')).status, 400);
  harness.app.server.headersTimeout = 100;
  const unused = await exchange(harness.port, '', 'GET', 20_000);
  t.equal(unused.status, 408);
  t.same(unreadable, [431, 400], 'a connection over which nothing was asked is no request');
  const slow = await exchange(harness.port, 'GET / HTTP/1.1\r\nHost: forge', 'GET', 20_000);
  t.equal(slow.status, 408);
  t.same(unreadable, [431, 400, 408]);
});
