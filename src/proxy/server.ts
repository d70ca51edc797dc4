import type { IncomingMessage, ServerResponse } from 'node:http';
import { METHODS, ServerResponse as NodeServerResponse } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import httpProxy from '@fastify/http-proxy';
import Fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify';
import type { Config } from '../config/schema.ts';
import type { Generation } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import type { OpenedSession } from '../session/types.ts';
import { readCertificate, watchCertificate } from './certificate.ts';
import { createEdge, isWebSocketUpgrade } from './edge.ts';
import type { Established } from './edge.ts';
import { createGate } from './gate.ts';
import type { GateResult } from './gate.ts';
import { createUpstreamHeaders, ownCookieNames } from './headers.ts';
import type { ExchangeContext, ExchangeRequest } from './http.ts';
import { Exchange, hasBody } from './http.ts';
import type { AccessEntry, PublicServerDeps } from './types.ts';
import { drainUpload } from './upload.ts';
import { connectUpstream } from './upstream.ts';
import { UpgradedSockets, UpgradeExchange } from './websocket.ts';

export { listenOptions } from './listen.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Open WebSockets: closed at shutdown, and when their session ends. */
    upgradedSockets: UpgradedSockets;
  }
}

/** How long a client may take for its request head, in milliseconds. */
const headersTimeoutMs = 30_000;
/** How long an idle client connection is kept, in milliseconds. */
const keepAliveTimeoutMs = 75_000;

/** Methods that Fastify would read a body for: told that it is of no known type, it leaves the body alone. */
const parsedMethods: ReadonlySet<string> = new Set(['DELETE', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY']);

/** A raw request with what the server has noted on its way in. */
interface NotedRequest extends IncomingMessage {
  originalUrl?: string;
  /** It asked for `100 Continue` and has not got it yet. */
  awaitsContinue?: boolean;
  /** It came as an upgrade: its connection is HTTP no longer, whatever becomes of it. */
  upgrading?: { readonly socket: Socket; readonly head: Buffer };
}

/**
 * The public server: our own endpoints under the prefix, everything else through the gate to the upstream. Ready, not yet
 * listening (see {@link listenOptions}); `close()` stops accepting, ends WebSockets, lets requests finish for
 * `server.shutdown_grace` and then cuts them.
 *
 * @throws Error when a certificate or key can't be read
 */
export async function createPublicServer(config: Config, deps: PublicServerDeps): Promise<FastifyInstance> {
  const { server: serverConfig } = config;
  const prefix = serverConfig.path_prefix;
  const certificate = serverConfig.tls === undefined ? undefined : await readCertificate(serverConfig.tls);
  const nodeOptions = {
    maxHeaderSize: serverConfig.max_header_size,
    headersTimeout: headersTimeoutMs,
    connectionsCheckingInterval: 2_000,
    // Answered by the edge, in our own words; Node's check would also pass over HTTP/1.0.
    requireHostHeader: false,
    // From Node 24.9 on: any other Upgrade is then an ordinary request. Before, see `onUpgrade`.
    shouldUpgradeCallback: isWebSocketUpgrade,
  };
  const app = Fastify({
    ...(certificate === undefined
      ? { http: nodeOptions }
      : { https: { ...nodeOptions, ...certificate, minVersion: 'TLSv1.2' } }),
    // The whole request's time is not limited: a large upload may take hours. Its pauses are (proxy/upload.ts).
    requestTimeout: 0,
    keepAliveTimeout: keepAliveTimeoutMs,
    logger: false,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 4_096 },
    rewriteUrl: (raw) => (isOwnPath(raw.url ?? '', prefix) ? (raw.url ?? '') : '/'),
    clientErrorHandler: answerClientError,
    frameworkErrors: (_error: Error, _request: FastifyRequest, reply: FastifyReply) => {
      void reply.code(400).type('text/plain; charset=utf-8').send('Bad Request\n');
    },
  } as FastifyServerOptions) as unknown as FastifyInstance;

  const upstream = connectUpstream(config.upstream, serverConfig.max_header_size);
  const context: ExchangeContext = {
    pool: upstream.pool,
    meter: deps.meter,
    ownCookies: ownCookieNames(config),
    idleTimeoutMs: config.upstream.idle_timeout,
  };
  const establish = createEdge({
    trustedProxies: serverConfig.trusted_proxies,
    randomness: deps.randomness,
    logWarning: deps.logWarning,
  });
  const judge = createGate(deps.sessions, deps.clock);
  const buildHeaders = createUpstreamHeaders(config);
  const upgraded = new UpgradedSockets();

  app.decorate('upgradedSockets', upgraded);
  app.decorateRequest('facts', null as unknown as RequestFacts);
  app.decorateRequest('generation', null as unknown as Generation);
  for (const method of METHODS) {
    if (method === 'CONNECT' || method === 'GET' || method === 'HEAD' || method === 'TRACE') continue;
    // No body for Fastify to parse: it stays a stream.
    if (!parsedMethods.has(method)) app.addHttpMethod(method, { hasBody: false });
  }

  /** Tells log and meter of a request's end. */
  function record(
    facts: RequestFacts,
    startedAt: number,
    status: number,
    route: string,
    access: string,
    session: OpenedSession | undefined,
  ): void {
    const durationMs = performance.now() - startedAt;
    deps.meter.httpRequest(route, access, facts.method, status, durationMs / 1000);
    if (deps.accessLog === undefined) return;
    const entry: AccessEntry = {
      facts,
      status,
      durationMs,
      route,
      access,
      user: session === undefined ? undefined : userOf(session),
      source: session?.record.source,
    };
    deps.accessLog(entry);
  }

  /** Writes a refusal; the connection goes on where that is safe. */
  function refuse(
    raw: NotedRequest,
    res: ServerResponse,
    refusal: Refusal,
    facts: RequestFacts,
    generation: Generation,
  ): number {
    if (res.headersSent || res.destroyed) {
      raw.socket.destroy();
      return res.statusCode;
    }
    const rendered = deps.render(refusal, facts, generation);
    const headers: Record<string, string | number> = {
      ...rendered.headers,
      'content-length': Buffer.byteLength(rendered.body),
    };
    const uploading = hasBody(raw) && !raw.complete;
    // A body that was announced and may never come: what follows on this connection could be taken for it.
    if (raw.awaitsContinue === true || raw.upgrading !== undefined) headers['connection'] = 'close';
    res.writeHead(rendered.status, headers);
    res.end(facts.method === 'HEAD' ? undefined : rendered.body);
    if (uploading && raw.awaitsContinue !== true) {
      drainUpload(raw, (complete) => {
        if (!complete) raw.socket.destroySoon();
      });
    }
    return rendered.status;
  }

  function fault(
    raw: NotedRequest,
    res: ServerResponse,
    error: unknown,
    facts: RequestFacts,
    generation: Generation,
  ): number {
    deps.logFault(error, facts);
    return refuse(raw, res, { status: 500, code: 'internal' }, facts, generation);
  }

  /** Passes a request that the gate lets through on to the upstream. */
  function pass(
    raw: NotedRequest,
    res: ServerResponse,
    facts: RequestFacts,
    generation: Generation,
    startedAt: number,
    gate: GateResult,
    identityHeaders: readonly string[],
  ): void {
    const { session, withSession } = gate;
    const route = gate.rule?.name ?? 'none';
    const access = gate.rule?.access ?? 'none';
    const headers = buildHeaders({
      rawHeaders: raw.rawHeaders,
      connection: raw.headers.connection,
      facts,
      withSession,
      identityHeaders,
    });
    const request: ExchangeRequest = {
      raw,
      res,
      method: facts.method,
      rawTarget: facts.rawTarget,
      headers,
      withSession,
      awaitsContinue: raw.awaitsContinue === true,
      refuse: (refusal, kind, error) => {
        if (kind !== undefined) {
          deps.logWarning('the upstream failed', { kind, error: error.message, request_id: facts.id });
        }
        record(facts, startedAt, refuse(raw, res, refusal, facts, generation), route, access, session);
      },
      finished: (status) => record(facts, startedAt, status, route, access, session),
    };
    if (raw.upgrading === undefined || !facts.upgrade) {
      new Exchange(context, request).start();
    } else {
      const { socket, head } = raw.upgrading;
      const sessionId = session?.record.id;
      new UpgradeExchange(context, { ...request, socket, head, sessionId }, upgraded).start();
    }
  }

  /** Everything that is not under the prefix. */
  function serve(request: FastifyRequest, reply: FastifyReply): void {
    reply.hijack();
    const raw = request.raw as NotedRequest;
    const res = reply.raw;
    const { facts, generation } = request;
    const startedAt = performance.now();

    function onFault(error: unknown): void {
      // Nothing may be left hanging after `hijack()`.
      record(facts, startedAt, fault(raw, res, error, facts, generation), 'none', 'none', undefined);
    }

    function onJudged(gate: GateResult): void {
      if (gate.refusal !== undefined) {
        const status = refuse(raw, res, gate.refusal, facts, generation);
        record(
          facts,
          startedAt,
          status,
          gate.rule?.name ?? 'none',
          gate.rule?.access ?? 'none',
          gate.session,
        );
        return;
      }
      const identity =
        gate.withSession && gate.session !== undefined
          ? generation.identityHeaders(gate.session, facts.origin, deps.clock.nowMs())
          : noHeaders;
      if (identity instanceof Promise) {
        identity
          .then((headers) => pass(raw, res, facts, generation, startedAt, gate, headers))
          .catch(onFault);
      } else {
        pass(raw, res, facts, generation, startedAt, gate, identity);
      }
    }

    try {
      if (facts.method === 'TRACE') {
        onJudged(methodNotAllowed);
        return;
      }
      if (raw.upgrading !== undefined && !facts.upgrade && hasBody(raw)) {
        // Node has stopped parsing at the head: this body can't be read any more.
        onJudged(upgradeWithBody);
        return;
      }
      const gate = judge(raw, facts, generation);
      if (gate instanceof Promise) gate.then(onJudged).catch(onFault);
      else onJudged(gate);
    } catch (error) {
      onFault(error);
    }
  }

  app.addHook('onRequest', (request, reply, done) => {
    const raw = request.raw as NotedRequest;
    const generation = deps.generations.current();
    const established: Established = establish(raw, generation);
    request.facts = established.facts;
    request.generation = generation;
    if (established.refusal !== undefined) {
      const startedAt = performance.now();
      reply.hijack();
      const status = refuse(raw, reply.raw, established.refusal, established.facts, generation);
      record(established.facts, startedAt, status, 'none', 'none', undefined);
      return;
    }
    done();
  });

  app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) deps.logFault(error, request.facts);
    send(
      request,
      reply,
      status >= 500 ? { status: 500, code: 'internal' } : { status, code: 'request_malformed' },
    );
  });
  const notFound = (request: FastifyRequest, reply: FastifyReply): void => {
    send(request, reply, { status: 404, code: 'not_found' });
  };
  function send(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): void {
    const rendered = deps.render(refusal, request.facts, request.generation);
    reply.code(rendered.status).headers(rendered.headers).send(rendered.body);
  }
  app.setNotFoundHandler(notFound);

  await app.register(
    async (scope) => {
      scope.decorateRequest('startedAt', 0);
      scope.addHook('onRequest', (request, _reply, done) => {
        (request as FastifyRequest & { startedAt: number }).startedAt = performance.now();
        done();
      });
      scope.addHook('onResponse', (request, reply, done) => {
        const { startedAt } = request as FastifyRequest & { startedAt: number };
        record(request.facts, startedAt, reply.statusCode, 'sallyport', 'sallyport', undefined);
        done();
      });
      await deps.registerEndpoints(scope);
      // What is not registered is nowhere: least of all at the upstream.
      scope.all('/', notFound);
      scope.all('/*', notFound);
    },
    { prefix },
  );

  await app.register(async (scope) => {
    // Fastify must not touch a body: JSON and text parsers would, up to their limit (proxy-spikes: 1 MiB, corrupted).
    scope.removeAllContentTypeParsers();
    scope.addHook('onRequest', (request, _reply, done) => {
      // Fastify judges by this copy; the upstream gets the raw header. So a malformed type is the upstream's affair.
      if (parsedMethods.has(request.method)) request.raw.headers['content-type'] = 'application/octet-stream';
      done();
    });
    await scope.register(httpProxy, {
      upstream: 'http://upstream.invalid',
      undici: upstream.pool,
      routes: ['/'],
      httpMethods: METHODS.filter((method) => method !== 'CONNECT'),
      websocket: false,
      handler: serve,
    } as unknown as Parameters<typeof httpProxy>[1]);
  });

  listenForTheRest(app);
  if (serverConfig.tls !== undefined) {
    const stop = watchCertificate(
      serverConfig.tls,
      (fresh) => {
        // Connections that are open keep what they have; the next handshake gets the new pair.
        (app.server as unknown as HttpsServer).setSecureContext({ ...fresh, minVersion: 'TLSv1.2' });
        deps.logWarning('the certificate was replaced', { cert_file: serverConfig.tls?.cert_file });
      },
      (error) => deps.logWarning('the new certificate can not be used', { error: String(error) }),
    );
    app.addHook('onClose', (_app, done) => {
      stop();
      done();
    });
  }
  closeInTime(app, upgraded, serverConfig.shutdown_grace);
  app.addHook('onClose', () => upstream.close());
  await app.ready();
  return app;
}

const noHeaders: readonly string[] = [];

const methodNotAllowed: GateResult = {
  refusal: { status: 405, code: 'method_not_allowed' },
  rule: undefined,
  session: undefined,
  withSession: false,
};

const upgradeWithBody: GateResult = {
  refusal: { status: 400, code: 'upgrade_with_body' },
  rule: undefined,
  session: undefined,
  withSession: false,
};

/** Characters in which our own endpoints' paths are written; any other spelling goes to the gate, which knows it as ours and refuses. */
const plainRest = /^(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\/?(?:\?.*)?$/;

/** Whether a raw target lies under the prefix, in its one plain spelling. Never throws: a throw here would leave the client hanging. */
function isOwnPath(rawTarget: string, prefix: string): boolean {
  return rawTarget.startsWith(prefix) && plainRest.test(rawTarget.slice(prefix.length));
}

function userOf(session: OpenedSession): NonNullable<AccessEntry['user']> {
  const { identity } = session.record;
  return { id: identity.subject, email: identity.email, name: identity.username };
}

/** What Node hands over by events of their own: `Expect`, upgrades, CONNECT. */
function listenForTheRest(app: FastifyInstance): void {
  const { server } = app;
  server.on('checkContinue', (raw: NotedRequest, res: ServerResponse) => {
    raw.awaitsContinue = true;
    app.routing(raw, res);
  });
  server.on('upgrade', (raw: NotedRequest, socket: Duplex, head: Buffer) => {
    if (!(socket instanceof Socket)) {
      socket.destroy();
      return;
    }
    raw.upgrading = { socket, head };
    socket.on('error', () => socket.destroy());
    const res = new NodeServerResponse(raw);
    // Once Node has let go of the connection, one answer is all that it can carry.
    res.shouldKeepAlive = false;
    res.assignSocket(socket);
    res.on('finish', () => socket.destroySoon());
    socket.on('close', () => res.emit('close'));
    app.routing(raw, res);
  });
  server.on('connect', (_raw: IncomingMessage, socket: Duplex) => {
    socket.on('error', () => socket.destroy());
    socket.end('HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });
}

/** Answers what Node's parser refuses: plainly, once, and without a word about the inside. */
function answerClientError(
  error: Error & { code?: string },
  socket: Duplex & { _httpMessage?: ServerResponse | null },
): void {
  // In mid-answer nothing can be said any more.
  if (!socket.writable || error.code === 'ECONNRESET' || socket._httpMessage?.headersSent === true) {
    socket.destroy();
    return;
  }
  const line =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request';
  const body = `${line.slice(4)}\n`;
  socket.end(
    `HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** `close()` must end: WebSockets never finish by themselves, and a stream may outlast everyone's patience. */
function closeInTime(app: FastifyInstance, upgraded: UpgradedSockets, graceMs: number): void {
  let timer: NodeJS.Timeout | undefined;
  app.addHook('preClose', (done) => {
    upgraded.closeAll();
    timer = setTimeout(() => app.server.closeAllConnections(), graceMs);
    timer.unref();
    done();
  });
  app.addHook('onClose', (_app, done) => {
    clearTimeout(timer);
    done();
  });
}
