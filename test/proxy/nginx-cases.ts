import type { RawExchange } from '../support/upstream.ts';

/** One thing that a client and an upstream do, and where Sallyport's doing differs from nginx's, on purpose. */
export interface ComparisonCase {
  readonly title: string;
  /** The request's bytes; `HOST` and `COOKIE` are filled in. */
  readonly request: string;
  readonly method?: string;
  /** What the upstream does; default: reads the body and answers 200 `ok`. */
  readonly answer?: (exchange: RawExchange) => void | Promise<void>;
  /** Sent once the first bytes of an answer are there. */
  readonly afterwards?: string;
  /** Observations in which the two differ, each by its path; listed and justified in docs/proxying.md too. */
  readonly differs?: {
    readonly why: string;
    /** Need not name all. */
    readonly nginx?: Readonly<Record<string, unknown>>;
    readonly sallyport: Readonly<Record<string, unknown>>;
  };
}

/** What the two ends notice of one case. */
export interface Observation {
  readonly status: number;
  readonly interim: readonly number[];
  readonly answer:
    | "the proxy's own"
    | {
        readonly reason: string;
        readonly headers: readonly string[];
        readonly body: string;
        readonly complete: boolean;
        readonly trailers: readonly string[];
      };
  readonly seen:
    | 'nothing'
    | {
        readonly line: string;
        readonly framing: string;
        readonly body: string;
        readonly hopByHop: readonly string[];
      };
}

/** Where nginx passes something on and Sallyport refuses it. */
const refused = (status: number, why: string, nginx = 200): NonNullable<ComparisonCase['differs']> => ({
  why,
  nginx: { status: nginx },
  sallyport: { status, answer: "the proxy's own", seen: 'nothing' },
});
const ambiguous = 'the gate and the upstream could read it as two different paths (SPEC section 5)';

const get = (target = '/x', more = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\n${more}\r\n`;
const send =
  (text: string) =>
  async ({ socket, body }: RawExchange): Promise<void> => {
    await body();
    socket.write(text, 'latin1');
  };
const sendAndEnd =
  (text: string) =>
  async ({ socket, body }: RawExchange): Promise<void> => {
    await body();
    socket.end(text, 'latin1');
  };
const sendAndReset =
  (text: string) =>
  ({ socket }: RawExchange): void => {
    if (text === '') socket.resetAndDestroy();
    else socket.write(text, 'latin1', () => setTimeout(() => socket.resetAndDestroy(), 50));
  };

export const comparisonCases: readonly ComparisonCase[] = [
  { title: 'a plain GET', request: get() },
  {
    title: "the client's hop-by-hop headers stay on their hop",
    differs: {
      why: 'nginx passes on what Connection lists; RFC 9110 section 7.6.1 has it removed',
      sallyport: { 'seen.hopByHop': [] },
    },
    request: get(
      '/x',
      'Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nKeep-Alive: timeout=9\r\nTE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\n',
    ),
  },
  {
    title: "the upstream's hop-by-hop headers stay on their hop",
    differs: {
      why: 'nginx passes on what Connection lists, and Upgrade',
      sallyport: { 'answer.headers': ['Content-Length: 2', 'X-End: 2'] },
    },
    request: get(),
    answer: send(
      'HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nKeep-Alive: timeout=9\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nContent-Length: 2\r\n\r\nok',
    ),
  },
  {
    title: 'repeated response headers keep number and order',
    request: get(),
    answer: send(
      'HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-A: 1\r\nSet-Cookie: b=2\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nok',
    ),
  },
  {
    title: 'a reason phrase of its own',
    request: get(),
    answer: send('HTTP/1.1 200 Very Fine\r\nContent-Length: 2\r\n\r\nok'),
  },
  { title: 'no reason phrase', request: get(), answer: send('HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok') },
  {
    title: 'an unknown status',
    request: get(),
    answer: send('HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok'),
  },
  {
    title: 'non-ASCII header bytes',
    request: get('/x', 'X-Name: Zo\xc3\xab\r\n'),
    answer: send('HTTP/1.1 200 OK\r\nX-Back: Zo\xc3\xab\r\nContent-Length: 2\r\n\r\nok'),
  },
  {
    title: 'a chunked answer',
    request: get(),
    answer: send(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n',
    ),
  },
  {
    title: 'a chunked answer with trailers',
    differs: {
      why: 'nginx drops trailers; ours arrive',
      nginx: { 'answer.trailers': [] },
      sallyport: { 'answer.trailers': ['X-Sum: 7'] },
    },
    request: get(),
    answer: send(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n',
    ),
  },
  { title: 'an answer ended by closing', request: get(), answer: sendAndEnd('HTTP/1.1 200 OK\r\n\r\nabc') },
  {
    title: 'an answer of HTTP/1.0',
    request: get(),
    answer: sendAndEnd('HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nabc'),
  },
  { title: 'an empty answer', request: get(), answer: send('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n') },
  {
    title: 'HEAD with a length',
    method: 'HEAD',
    request: get().replace('GET', 'HEAD'),
    answer: send('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n'),
  },
  {
    title: 'HEAD without a length',
    method: 'HEAD',
    request: get().replace('GET', 'HEAD'),
    answer: send('HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n'),
  },
  {
    title: 'HEAD with chunked',
    method: 'HEAD',
    request: get().replace('GET', 'HEAD'),
    answer: send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'),
  },
  { title: '204', request: get(), answer: send('HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n') },
  { title: '304', request: get(), answer: send('HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n') },
  {
    title: '304 with a length',
    request: get(),
    answer: send('HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 500\r\n\r\n'),
  },
  {
    title: 'POST with a length',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello`,
  },
  {
    title: 'POST of nothing',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 0\r\n\r\n`,
  },
  {
    title: 'POST with neither length nor chunks',
    differs: {
      why: 'the length of nothing is made explicit, as RFC 9110 section 8.6 recommends',
      sallyport: { 'seen.framing': 'content-length: 0' },
    },
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\n\r\n`,
  },
  {
    title: 'POST in chunks',
    differs: {
      why: 'a body is streamed as it comes, never collected',
      sallyport: { 'seen.framing': 'transfer-encoding: chunked' },
    },
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`,
  },
  {
    title: 'POST in chunks with trailers',
    differs: {
      why: 'a body is streamed; the announcement of trailers that do not follow is dropped',
      sallyport: { 'seen.framing': 'transfer-encoding: chunked', 'seen.hopByHop': [] },
    },
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n`,
  },
  {
    title: 'POST with an odd content type',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Type: ;;;\r\nContent-Length: 2\r\n\r\n{}`,
  },
  {
    title: 'POST of broken JSON',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{`,
  },
  {
    title: 'GET with a body',
    request: `GET /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 3\r\n\r\nabc`,
  },
  {
    title: 'DELETE with a body',
    method: 'DELETE',
    request: `DELETE /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 3\r\n\r\nabc`,
  },
  {
    title: 'Expect: 100-continue',
    method: 'PUT',
    request: `PUT /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
    afterwards: 'hello',
  },
  { title: 'Expect: something else', request: get('/x', 'Expect: a miracle\r\n') },
  { title: 'two requests in one piece', request: `${get()}${get()}` },
  {
    title: 'HTTP/1.0',
    request: `GET /x HTTP/1.0\r\nHost: HOST\r\nCookie: COOKIE\r\n\r\n`,
    answer: send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'),
  },
  { title: 'Connection: close', request: get('/x', 'Connection: close\r\n') },
  // Targets.
  { title: 'a target of 20 KiB', request: get(`/${'a'.repeat(20_000)}`) },
  {
    title: 'a target beyond every limit',
    differs: { why: 'the head has one limit as a whole', nginx: { status: 414 }, sallyport: { status: 431 } },
    request: get(`/${'a'.repeat(40_000)}`),
  },
  { title: 'repeated slashes', request: get('/a///b//') },
  {
    title: 'repeated slashes at the beginning',
    differs: {
      why: 'a URL parser behind us would take the first segment for a host',
      sallyport: { 'seen.line': 'GET /a///b HTTP/1.1' },
    },
    request: get('//a///b'),
  },
  { title: 'an encoded slash', request: get('/a%2Fb') },
  { title: 'escapes in both cases', request: get('/%7euser/%C3%a4?q=%zz') },
  { title: 'a broken escape in the path', request: get('/a%zz') },
  { title: 'dot segments', differs: refused(400, ambiguous), request: get('/a/../b') },
  { title: 'encoded dot segments', differs: refused(400, ambiguous), request: get('/a/%2e%2e/b') },
  { title: 'dot segments above the root', request: get('/../x') },
  { title: 'a backslash', differs: refused(400, ambiguous), request: get('/a\\b') },
  { title: 'an encoded NUL', request: get('/a%00') },
  { title: 'characters that need no escape in practice', request: get('/a|b"c<d>{e}^`f?x=[1]|"<>') },
  {
    title: 'bytes above 0x7f',
    differs: refused(400, 'no URI (RFC 3986): Node takes ASCII targets only'),
    request: get('/\xc3\xa4'),
  },
  { title: 'a fragment', differs: refused(400, ambiguous), request: get('/a#b') },
  { title: 'a query of its own kind', request: get('/a?b?c=d&&=&e') },
  { title: 'an empty query', request: get('/a?') },
  {
    title: 'the absolute form',
    differs: refused(400, 'its host could differ from the Host header that was judged'),
    request: get('http://HOST/x'),
  },
  { title: 'no slash at all', request: get('x') },
  { title: 'OPTIONS *', method: 'OPTIONS', request: get('*').replace('GET', 'OPTIONS') },
  // Methods.
  ...['PATCH', 'PROPFIND', 'REPORT', 'MKCOL', 'LOCK', 'PURGE', 'M-SEARCH', 'SEARCH'].map((method) => ({
    title: method,
    method,
    request: `${method} /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 3\r\n\r\nabc`,
  })),
  {
    title: 'QUERY',
    method: 'QUERY',
    request: `QUERY /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 3\r\n\r\nabc`,
  },
  {
    title: 'a method that nobody knows',
    differs: refused(400, "Node's parser knows the registered methods only"),
    request: get().replace('GET', 'BREW'),
  },
  { title: 'a method in lower case', request: get().replace('GET', 'get') },
  { title: 'TRACE', request: get().replace('GET', 'TRACE') },
  {
    title: 'CONNECT',
    differs: {
      why: 'a method that is known and not allowed',
      nginx: { status: 400 },
      sallyport: { status: 405 },
    },
    request: 'CONNECT HOST:443 HTTP/1.1\r\nHost: HOST\r\n\r\n',
  },
  // Answers before their time, and connections that break.
  {
    title: 'an answer before the upload is over',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 200000\r\n\r\n${'a'.repeat(1000)}`,
    answer: ({ socket }) => void socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno'),
    afterwards: 'b'.repeat(199_000),
  },
  {
    title: 'an answer before the upload is over, and the end',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 200000\r\n\r\n${'a'.repeat(1000)}`,
    answer: ({ socket }) =>
      void socket.end('HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno'),
    afterwards: 'b'.repeat(199_000),
  },
  { title: 'closed without an answer', request: get(), answer: sendAndEnd('') },
  { title: 'reset without an answer', request: get(), answer: sendAndReset('') },
  { title: 'reset within the head', request: get(), answer: sendAndReset('HTTP/1.1 200 OK\r\nContent-Le') },
  {
    title: 'reset within a body of known length',
    request: get(),
    answer: sendAndReset('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'),
  },
  {
    title: 'closed within a body of known length',
    request: get(),
    answer: sendAndEnd('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'),
  },
  {
    title: 'reset within a chunked body',
    request: get(),
    answer: sendAndReset('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'),
  },
  {
    title: 'closed within a chunked body',
    request: get(),
    answer: sendAndEnd('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'),
  },
  {
    title: 'reset within a body ended by closing',
    request: get(),
    answer: sendAndReset('HTTP/1.1 200 OK\r\n\r\nabc'),
  },
  // Answers that are none.
  {
    title: 'two lengths in the answer',
    differs: {
      why: 'ambiguous framing is nothing to pass on',
      sallyport: { status: 502, answer: "the proxy's own" },
    },
    request: get(),
    answer: sendAndEnd('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc'),
  },
  {
    title: 'length and chunks in the answer',
    differs: {
      why: 'ambiguous framing is nothing to pass on',
      sallyport: { status: 502, answer: "the proxy's own" },
    },
    request: get(),
    answer: sendAndEnd(
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    ),
  },
  {
    title: 'a bad chunk in the answer',
    differs: {
      why: 'the head had gone out; both cut the connection',
      nginx: { status: 0, 'answer.complete': false },
      sallyport: { status: 200, 'answer.reason': 'OK', 'answer.headers': ['Transfer-Encoding: chunked'] },
    },
    request: get(),
    answer: sendAndEnd('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n'),
  },
  {
    title: 'a head without end',
    request: get(),
    answer: sendAndEnd(`HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(100_000)}\r\n\r\n`),
  },
  {
    title: 'a folded header in the answer',
    request: get(),
    answer: send('HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok'),
  },
  // What smuggles requests past one parser into another.
  {
    title: 'smuggling: length and chunks',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    title: 'smuggling: two lengths',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
  },
  {
    title: 'smuggling: a signed length',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nContent-Length: +5\r\n\r\nhello`,
  },
  {
    title: 'smuggling: a coding that looks like chunked',
    differs: { why: 'refused alike, by another number', nginx: { status: 501 }, sallyport: { status: 400 } },
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  },
  {
    title: 'smuggling: chunked not last',
    differs: { why: 'refused alike, by another number', nginx: { status: 501 }, sallyport: { status: 400 } },
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  },
  {
    title: 'smuggling: a bad chunk',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n`,
  },
  {
    title: 'smuggling: a chunk size that overflows',
    method: 'POST',
    request: `POST /x HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n`,
  },
  { title: 'smuggling: a folded header', request: get('/x', 'X-A: 1\r\n X-B: 2\r\n') },
  { title: 'smuggling: a blank before the colon', request: get('/x', 'Content-Length : 5\r\n') },
  {
    title: 'smuggling: bare line feeds',
    differs: refused(400, 'lines end with CRLF: what counts as a line must not differ between two parsers'),
    request: 'GET /x HTTP/1.1\nHost: HOST\nCookie: COOKIE\n\n',
  },
  {
    title: 'smuggling: a bare line feed within a head',
    differs: refused(400, 'lines end with CRLF: what counts as a line must not differ between two parsers'),
    request: get('/x', 'X-A: 1\nX-B: 2\r\n'),
  },
  { title: 'smuggling: a bare carriage return', request: get('/x', 'X-A: 1\rX-B: 2\r\n') },
  { title: 'smuggling: NUL in a header', request: get('/x', 'X-A: 1\0\r\n') },
  { title: 'smuggling: a space in the target', request: get('/x y') },
  {
    title: 'smuggling: a version that is none',
    differs: { why: 'refused alike, by another number', nginx: { status: 505 }, sallyport: { status: 400 } },
    request: get().replace('HTTP/1.1', 'HTTP/3.7'),
  },
  { title: 'no Host', request: 'GET /x HTTP/1.1\r\nCookie: COOKIE\r\n\r\n' },
  { title: 'two Hosts', request: get('/x', 'Host: HOST\r\n') },
];
