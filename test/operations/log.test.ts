import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { redactText } from '../../src/operations/redaction.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import type { RequestFacts } from '../../src/kernel/request-facts.ts';
import { Secret } from '../../src/kernel/secret.ts';
import { createLog, type LogConfig } from '../../src/operations/log.ts';
import type { LineWriter } from '../../src/operations/line-writer.ts';
import { streamLineWriter } from '../../src/operations/line-writer.ts';
import type { AccessEntry } from '../../src/kernel/access-entry.ts';

const clock = { nowMs: () => Date.UTC(2026, 10, 21, 12) };

function logOf(config: Partial<LogConfig> = {}) {
  const lines: string[] = [];
  const writer: LineWriter = {
    write: (line) => void lines.push(line),
    flush: async () => undefined,
    flushSync: () => undefined,
    close: async () => undefined,
  };
  return { lines, log: createLog({ level: 'info', format: 'json', access: true, ...config }, writer, clock) };
}
const parse = (line: string | undefined) => JSON.parse(line ?? '') as Record<string, unknown>;

const facts: RequestFacts = {
  id: 'request-1',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  method: 'GET',
  rawTarget: '/org/repo?token=abc',
  origin: 'https://forge.example.com',
  clientIp: '192.0.2.7',
  navigation: true,
  upgrade: false,
};
const entry: AccessEntry = {
  facts,
  status: 200,
  durationMs: 12.5,
  route: 'default',
  access: 'session',
  user: { id: 'sub-1', email: 'alice@example.com', name: 'alice' },
  source: 'entra',
};

t.test("application lines are JSON in ECS's names", async (t) => {
  const { lines, log } = logOf();
  log.logger.info({ listen: '0.0.0.0:4180', operations: '127.0.0.1:9464' }, 'ready');
  t.equal(lines.length, 1);
  t.ok(lines[0]?.endsWith('}\n'));
  t.same(parse(lines[0]), {
    '@timestamp': '2026-11-21T12:00:00.000Z',
    'log.level': 'info',
    log_type: 'app',
    message: 'ready',
    listen: '0.0.0.0:4180',
    operations: '127.0.0.1:9464',
  });
});

t.test("an access line has ECS's names and no query string", async (t) => {
  const { lines, log } = logOf();
  log.access?.(entry);
  t.same(parse(lines[0]), {
    '@timestamp': '2026-11-21T12:00:00.000Z',
    'log.level': 'info',
    message: 'request',
    log_type: 'access',
    request_id: 'request-1',
    trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
    'client.ip': '192.0.2.7',
    'http.request.method': 'GET',
    'url.path': '/org/repo',
    'http.response.status_code': 200,
    'event.duration': 12_500_000,
    route: 'default',
    access: 'session',
    auth_source: 'entra',
    user: { id: 'sub-1', email: 'alice@example.com', name: 'alice' },
  });
});

t.test('whatever a client sends, one request is one line that parses, of bounded length', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 3000 });
  const { lines, log } = logOf();
  fc.assert(
    fc.property(text, text, fc.option(text, { nil: undefined }), (target, name, email) => {
      lines.length = 0;
      log.access?.({
        ...entry,
        facts: { ...facts, rawTarget: `/${target}`, method: target },
        user: { id: name.slice(0, 255), email, name: 'a' },
        source: undefined,
      });
      const [line] = lines;
      return (
        lines.length === 1 &&
        line?.indexOf('\n') === line!.length - 1 &&
        typeof parse(line)['url.path'] === 'string' &&
        line.length < 40_000
      );
    }),
  );
});

t.test('targets that are no path show nothing of themselves', async (t) => {
  const table: [string, string][] = [
    ['/_sallyport/callback/entra?code=SplxlOBeZQQYbYS6WxSbIA&state=af0', '/_sallyport/callback/entra'],
    ['/a#b', '/a'],
    ['http://user:pass@host/x', '[not a path]'],
    ['*', '*'],
    ['', '[not a path]'],
  ];
  for (const [rawTarget, path] of table) {
    const { lines, log } = logOf();
    log.access?.({ ...entry, facts: { ...facts, rawTarget } });
    t.equal(parse(lines[0])['url.path'], path);
  }
});

t.test('access lines can be turned off, and are off above info', async (t) => {
  t.equal(logOf({ access: false }).log.access, undefined);
  t.equal(logOf({ level: 'warn' }).log.access, undefined);
  t.type(logOf({ level: 'debug' }).log.access, 'function');
});

t.test('no secret, token, cookie or query string of ours reaches the log', async (t) => {
  const secret = 'hunter2hunter2';
  const jwt = `eyJhbGciOiJFUzI1NiJ9.${Buffer.from(`{"sub":"${secret}"}`).toString('base64url')}.${secret}`;
  const cause = new Error(
    `GET https://idp.example/token?code=${secret}&state=${secret} failed with Authorization: Basic ${secret}`,
  );
  const attempts: ((log: ReturnType<typeof logOf>['log']) => void)[] = [
    (log) => log.logger.info({ client_secret: secret }, 'x'),
    (log) =>
      log.logger.info(
        { clientSecret: secret, nested: { access_token: secret, list: [{ 'Set-Cookie': secret }] } },
        'x',
      ),
    (log) => log.logger.info({ headers: { cookie: `a=${secret}`, Authorization: `Bearer ${secret}` } }, 'x'),
    (log) => log.logger.info({ tokens: { idToken: secret } }, 'x'),
    (log) => log.logger.info({ code_verifier: secret, password: secret, code: `${secret}-_` }, 'x'),
    (log) => log.logger.info({ value: new Secret(secret) }, 'x'),
    (log) => log.logger.info({ config: { sources: [{ client_secret: new Secret(secret) }] } }, 'x'),
    (log) => log.logger.info({ jwt_seen: jwt }, 'x'),
    (log) => log.logger.info(`exchange of ${jwt}`),
    (log) => log.logger.info(`callback?code=${secret}&state=${secret}`),
    (log) => log.logger.info(`redis://default:${secret}@redis:6379/0 refused`),
    (log) => log.logger.error(cause),
    (log) => log.logger.error({ err: cause, error: new Error('outer', { cause }) }, 'failed'),
    (log) => log.fault(new SallyportError('token_invalid', `bad ${jwt}`, { cause }), facts),
    (log) => log.warning('retry', { url: `https://idp.example/par?client_secret=${secret}` }),
    (log) =>
      log.access?.({ ...entry, facts: { ...facts, rawTarget: `/_sallyport/callback/x?code=${secret}` } }),
  ];
  for (const [index, attempt] of attempts.entries()) {
    const { lines, log } = logOf();
    attempt(log);
    t.equal(lines.length, 1);
    t.notMatch(lines[0], secret, `attempt ${index}`);
    t.ok(parse(lines[0]), 'still JSON');
  }
});

t.test('what an operator needs is not redacted away', async (t) => {
  const { lines, log } = logOf();
  log.warning('idp unavailable', {
    auth_source: 'entra',
    code: 'ECONNREFUSED',
    state: 'down',
    url: 'https://idp.example/.well-known/openid-configuration',
  });
  t.match(parse(lines[0]), {
    auth_source: 'entra',
    code: 'ECONNREFUSED',
    state: 'down',
    url: 'https://idp.example/.well-known/openid-configuration',
  });
});

t.test(
  'a fault is told with its stack, causes and request; a dependency that is down without a stack',
  async (t) => {
    const { lines, log } = logOf();
    log.fault(new TypeError('boom', { cause: new Error('why') }), facts);
    const fault = parse(lines[0]);
    t.match(fault, {
      'log.level': 'error',
      request_id: 'request-1',
      trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
      'client.ip': '192.0.2.7',
      error: { type: 'TypeError', message: 'boom', stack_trace: /log\.test\.ts/, cause: { message: 'why' } },
    });
    log.fault(new SallyportError('store_unavailable', 'connection refused'), undefined);
    const down = parse(lines[1]);
    t.match(down, {
      'log.level': 'warn',
      error: { code: 'store_unavailable', message: 'connection refused' },
    });
    t.notOk('stack_trace' in (down['error'] as object));
    log.fault('thrown text', undefined);
    t.match(parse(lines[2]), { error: { message: 'thrown text' } });
  },
);

t.test('pretty lines are for people: time, level, message and fields', async (t) => {
  const { lines, log } = logOf({ format: 'pretty' });
  log.logger.info({ listen: '127.0.0.1:1' }, 'ready');
  log.access?.(entry);
  t.equal(lines.length, 2);
  t.match(lines[0], /INFO.*ready/);
  t.match(lines[0], 'listen: "127.0.0.1:1"');
  t.match(lines[1], /INFO.*request/);
  t.throws(() => parse(lines[0]));
});

t.test('lines can go to a stream, whose end costs lines and not the process', async (t) => {
  const stream = new PassThrough();
  const writer = streamLineWriter(stream);
  let lost = 0;
  writer.write('one\n', () => (lost += 1));
  await writer.flush();
  t.equal(String(stream.read()), 'one\n');
  stream.destroy(new Error('gone'));
  writer.write('two\n', () => (lost += 1));
  await writer.close();
  t.equal(lost, 1);
});

t.test('a long text built to be slow is redacted in no time', async (t) => {
  for (const text of [
    'a.'.repeat(16_000),
    '-eyJaaaaa'.repeat(4_000),
    'eyJaaaaa.'.repeat(4_000),
    'a://b'.repeat(8_000),
    'code='.repeat(8_000),
  ]) {
    const startedAt = performance.now();
    redactText(text);
    const tookMs = performance.now() - startedAt;
    t.ok(tookMs < 200, `${text.slice(0, 9)}…: ${tookMs.toFixed(1)} ms`);
  }
});
