import { METHODS } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import httpProxy from '@fastify/http-proxy';
import Fastify from 'fastify';
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifyServerOptions,
  preHandlerHookHandler,
} from 'fastify';
import type { Config } from '../config/schema.ts';
import type { Generation } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { followCertificates, readCertificate } from './certificate.ts';
import type { CertificateFiles } from './certificate.ts';
import type { OpenedSession } from '../session/types.ts';
import { closeInTime } from './shutdown.ts';
import { createEdge, isWebSocketUpgrade } from './edge.ts';
import type { Established } from './edge.ts';
import { createGate } from './gate.ts';
import { answerClientError, listenForTheRest } from './node-events.ts';
import type { ParserError, ParserSocket } from './node-events.ts';
import { Running } from './running.ts';
import { closeWithSessions } from './session-ends.ts';
import { closeEndless, closeWithStanding } from './standing-ends.ts';
import { createLanes } from './lanes.ts';
import type { Lanes } from './lanes.ts';
import type { PublicServerDeps } from './types.ts';
import type { House, NotedRequest } from './visit.ts';
import { leaveLane, recordVisit, Visit } from './visit.ts';
import { UpgradedSockets } from './websocket.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Open WebSockets: closed at shutdown, and when their session ends. */
    upgradedSockets: UpgradedSockets;
    /** Closes WebSockets and event streams of sessions that may not go on: another policy is in force. */
    reviewSessions: (mayGoOn: (session: OpenedSession) => boolean) => void;
    /** What the requests of each generation run on: a reload prepares the next and retires the last. */
    lanes: Lanes;
    /** Over TLS: reads another pair, and returns what takes it up. @throws when it can't be used */
    followCertificate: ((files: CertificateFiles) => Promise<() => void>) | undefined;
  }
}

/** How long a client may take for its request head, in milliseconds. */
const headersTimeoutMs = 30_000;
/** How long an idle client connection is kept, in milliseconds. */
const keepAliveTimeoutMs = 75_000;

/** Methods that Fastify would read a body for: told that it is of no known type, it leaves the body alone. */
const parsedMethods: ReadonlySet<string> = new Set(['DELETE', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY']);

/**
 * The public server: our own endpoints under the prefix, everything else through the gate to the upstream. Ready, not yet
 * listening (see proxy/listen.ts); `close()` stops accepting, ends WebSockets, lets requests finish for
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
    rewriteUrl: (raw) => routedTarget(raw.url ?? '', prefix),
    clientErrorHandler: (error: ParserError, socket: ParserSocket) => answerClientError(error, socket, deps),
    frameworkErrors: (_error: Error, _request: FastifyRequest, reply: FastifyReply) => {
      void reply.code(400).type('text/plain; charset=utf-8').send('Bad Request\n');
    },
  } as FastifyServerOptions) as unknown as FastifyInstance;

  const lanes = createLanes(deps, serverConfig.max_header_size);
  // What can't be read or used is found now, not by the first request.
  lanes.of(deps.generations.current());
  const edge = createEdge({ randomness: deps.randomness, logWarning: deps.logWarning });
  const judge = createGate(deps.sessions, deps.clock, deps.openBearer, deps.refreshSession);
  const upgraded = new UpgradedSockets();

  app.decorate('upgradedSockets', upgraded);
  app.decorate('lanes', lanes);
  app.decorate('followCertificate', undefined as unknown as FastifyInstance['followCertificate']);
  app.decorateRequest('facts', null as unknown as RequestFacts);
  app.decorateRequest('generation', null as unknown as Generation);
  for (const method of METHODS) {
    if (method === 'CONNECT' || method === 'GET' || method === 'HEAD' || method === 'TRACE') continue;
    // No body for Fastify to parse: it stays a stream.
    if (!parsedMethods.has(method)) app.addHttpMethod(method, { hasBody: false });
  }

  const house: House = { deps, judge, lanes, upgraded, running: new Running() };
  app.decorate('reviewSessions', (mayGoOn: (session: OpenedSession) => boolean) =>
    closeEndless(house.running, upgraded, mayGoOn),
  );

  /** Everything that is not under the prefix. */
  const serve: preHandlerHookHandler = (request, reply) => {
    reply.hijack();
    new Visit(house, request.raw, reply.raw, request.facts, request.generation).begin();
  };

  app.addHook('onRequest', (request, reply, done) => {
    const raw = request.raw as NotedRequest;
    const generation = deps.generations.current();
    const lane = lanes.of(generation);
    lane.enter();
    raw.lane = lane;
    const established: Established = edge.establish(raw, generation, lane.isTrusted);
    request.facts = established.facts;
    request.generation = generation;
    if (raw.url === '/' && parsedMethods.has(request.method)) {
      // For the upstream: Fastify judges by this copy, the upstream gets the raw header. So a malformed type is its affair.
      raw.headers['content-type'] = 'application/octet-stream';
    }
    if (established.refusal !== undefined) {
      reply.hijack();
      new Visit(house, raw, reply.raw, established.facts, generation).answer(established.refusal);
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
    leaveLane(request.raw);
  }
  app.setNotFoundHandler(notFound);

  await app.register(
    async (scope) => {
      scope.decorateRequest('startedAt', 0);
      scope.addHook('onRequest', (request, reply, done) => {
        (request as FastifyRequest & { startedAt: number }).startedAt = performance.now();
        reply.raw.once('close', () => leaveLane(request.raw));
        done();
      });
      scope.addHook('onResponse', (request, reply, done) => {
        const { startedAt } = request as FastifyRequest & { startedAt: number };
        // What the edge has refused never began here, and is recorded already.
        if (startedAt > 0)
          recordVisit(deps, request.facts, startedAt, reply.statusCode, 'sallyport', 'sallyport', undefined);
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
    await scope.register(httpProxy, {
      upstream: 'http://upstream.invalid',
      // Never used, since our handler lets http-proxy's own not run; and it would be closed with the server.
      undici: lanes.of(deps.generations.current()).context.pool,
      routes: ['/'],
      httpMethods: METHODS.filter((method) => method !== 'CONNECT'),
      websocket: false,
      // Before http-proxy's own handler, which would resolve a target that is none; ours never lets it run.
      preHandler: serve,
      handler: unreachable,
    } as unknown as Parameters<typeof httpProxy>[1]);
  });

  const onClose = (stop: () => void): void => {
    app.addHook('onClose', (_app, done) => {
      stop();
      done();
    });
  };
  listenForTheRest(app);
  if (serverConfig.tls !== undefined) {
    const following = followCertificates(
      app.server as unknown as HttpsServer,
      serverConfig.tls,
      deps.logWarning,
    );
    app.followCertificate = (files) => following.follow(files);
    onClose(() => following.stop());
  }
  if (deps.sessionWatch !== undefined) {
    onClose(closeWithSessions(house.running, upgraded, deps.sessionWatch));
  }
  onClose(closeWithStanding(house.running, upgraded, deps.generations, deps.clock));
  closeInTime(app, upgraded, edge, () => deps.generations.current().config.server.shutdown_grace);
  app.addHook('onClose', () => lanes.close());
  await app.ready();
  return app;
}

function unreachable(): never {
  throw new Error('a request has passed the gate by');
}

/** What the router is shown: our own endpoints as they are asked for, one stand-in for all that another proxy asks about, `/` else. */
function routedTarget(rawTarget: string, prefix: string): string {
  // A whole target of any shape follows (endpoints/forward-auth.ts): nothing here may read it.
  const asked = `${prefix}/auth/`;
  if (rawTarget.startsWith(asked)) return asked;
  return isOwnPath(rawTarget, prefix) ? rawTarget : '/';
}

/** Characters in which our own endpoints' paths are written; any other spelling goes to the gate, which knows it as ours and refuses. */
const plainRest = /^(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\/?(?:\?.*)?$/;

/** Whether a raw target lies under the prefix, in its one plain spelling. Never throws: a throw here would leave the client hanging. */
function isOwnPath(rawTarget: string, prefix: string): boolean {
  return rawTarget.startsWith(prefix) && plainRest.test(rawTarget.slice(prefix.length));
}
