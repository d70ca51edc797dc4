import { openSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import { createAccessLog } from '../../src/operations/access-log.ts';
import { openLineWriter } from '../../src/operations/line-writer.ts';
import { createMetrics } from '../../src/operations/metrics.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { startHarness } from '../proxy/harness.ts';
import { bodyMarker } from './marker.ts';

/* eslint-disable @typescript-eslint/no-deprecated -- undici's raw handler interface is what is measured */

/*
 * One server per process, so that its CPU time is its own. Roles: `upstream`; `bare` (the minimal proxy that the goal is
 * measured against: undici's pool.request and pipe, as its documentation shows); `bare-dispatch` (the least that Node and
 * undici can do: raw handlers, raw headers, no stream objects); `sallyport` and `sallyport-quiet` (without access log).
 */

interface Role {
  readonly port: number;
  /** A session cookie to ask with. */
  readonly cookie?: string;
}

async function listen(server: Server): Promise<Role> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port };
}

function startUpstream(): Promise<Role> {
  const body = Buffer.from('x'.repeat(2_048 - bodyMarker.length) + bodyMarker);
  return listen(
    createServer((request, response) => {
      request.resume();
      response.writeHead(200, {
        'Content-Type': 'text/html; charset=utf-8',
        'Content-Length': body.length,
        'Cache-Control': 'private, max-age=0',
        'Set-Cookie': 'i_like_gitea=abcdef0123456789; Path=/; HttpOnly; SameSite=Lax',
        'X-Frame-Options': 'SAMEORIGIN',
      });
      response.end(body);
    }),
  );
}

function startBare(upstreamPort: number): Promise<Role> {
  const pool = new Pool(`http://127.0.0.1:${upstreamPort}`);
  return listen(
    createServer((request, response) => {
      pool
        .request({
          path: request.url ?? '/',
          method: request.method as 'GET',
          headers: request.rawHeaders,
          body: request.method === 'GET' ? null : request,
        })
        .then((answer) => {
          const headers = { ...answer.headers };
          delete headers['connection'];
          delete headers['keep-alive'];
          response.writeHead(answer.statusCode, headers);
          answer.body.pipe(response);
        })
        .catch(() => response.destroy());
    }),
  );
}

function startBareDispatch(upstreamPort: number): Promise<Role> {
  const pool = new Pool(`http://127.0.0.1:${upstreamPort}`);
  return listen(
    createServer((request, response) => {
      pool.dispatch(
        {
          path: request.url ?? '/',
          method: request.method as 'GET',
          headers: request.rawHeaders,
          body: null,
        },
        {
          onConnect: () => undefined,
          onHeaders(status, rawHeaders, resume, statusText) {
            const headers: string[] = [];
            for (let i = 0; i < rawHeaders.length; i += 2) {
              const name = rawHeaders[i]!.toString('latin1');
              if (name === 'Connection' || name === 'Keep-Alive') continue;
              headers.push(name, rawHeaders[i + 1]!.toString('latin1'));
            }
            response.on('drain', resume);
            response.writeHead(status, statusText, headers);
            return true;
          },
          onData: (chunk) => response.write(chunk),
          onComplete: () => void response.end(),
          onError: () => void response.destroy(),
        },
      );
    }),
  );
}

async function startSallyport(upstreamPort: number, accessLog: boolean): Promise<Role> {
  const { meter } = createMetrics({
    version: 'bench',
    node: process.version,
    sources: ['test'],
    routes: [{ name: 'default', access: 'session' }],
    redis: false,
  });
  const harness = await startHarness({
    upstream: { url: `http://127.0.0.1:${upstreamPort}`, preset: 'forgejo' },
    meter,
    accessLog: accessLog
      ? createAccessLog(openLineWriter({ fd: openSync('/dev/null', 'w') }), systemClock)
      : false,
  });
  return { port: harness.port, cookie: await harness.signIn() };
}

async function start(role: string, upstreamPort: number): Promise<Role> {
  switch (role) {
    case 'upstream':
      return startUpstream();
    case 'bare':
      return startBare(upstreamPort);
    case 'bare-dispatch':
      return startBareDispatch(upstreamPort);
    case 'sallyport':
      return startSallyport(upstreamPort, true);
    case 'sallyport-quiet':
      return startSallyport(upstreamPort, false);
    default:
      throw new Error(`no such role: ${role}`);
  }
}

if (process.send !== undefined) {
  const [, , role = '', upstreamPort = '0'] = process.argv;
  process.send(await start(role, Number(upstreamPort)));
  process.on('disconnect', () => process.exit());
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuMicroseconds: user + system, rss: process.memoryUsage.rss() });
  });
}
