import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type RequestOptions } from 'node:http';
import { request as secureRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { stringify } from 'yaml';
import { loopbackOrigin } from '../support/sallyport.ts';
import { until } from '../support/until.ts';

type Json = Record<string, unknown>;

export interface Served {
  readonly origin: string;
  readonly directory: string;
  readonly pid: number;
  readonly child: ReturnType<typeof spawn>;
  readonly exit: Promise<[number | null]>;
  readonly out: { stdout: string; stderr: string };
  /** Writes the file as editors do. */
  write(more: Json | string): void;
  /** The whole lines of the log. @throws when one of them is no JSON: torn, or written into another */
  lines(): readonly Json[];
  readonly told: (message: string) => readonly Json[];
  /** Pids that have written access lines. */
  readonly seen: () => ReadonlySet<number>;
  /** Pids of the workers that live. */
  workers(): readonly number[];
  readonly operations: string;
  /** A page of the operations listener, and its status. */
  look(path: string): Promise<{ readonly status: number; readonly text: string }>;
}

/** A configuration for several workers, and what a test lays over its sections. */
export function configOf(
  origin: string,
  operations: string,
  upstream: string,
  redis: string | undefined,
  more: Json,
): Json {
  const base: Json = {
    server: {
      listen: new URL(origin).host,
      public_url: origin,
      workers: 2,
      shutdown_grace: '10s',
      rate_limit: { sign_in: '10000/1m' },
    },
    operations: { listen: operations },
    upstream: { url: upstream },
    session: {
      secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'],
      ...(redis !== undefined && { redis: { url: redis } }),
    },
    sources: [
      {
        id: 'idp',
        issuer: 'http://127.0.0.1:9',
        client_id: 'forge',
        client_secret: 'a-secret',
        mfa: { aal2_amr_values: 'strict' },
      },
    ],
    routes: [{ name: 'open', path: '/open/**', access: 'public' }],
  };
  for (const [key, value] of Object.entries(more)) {
    const before = base[key];
    base[key] = Array.isArray(value) || before === undefined ? value : { ...before, ...(value as Json) };
  }
  return base;
}

/** Starts `sallyport serve` as it is installed, in a process group of its own. */
export async function serve(
  t: Test,
  main: string,
  options: {
    readonly upstream: string;
    readonly redis?: string | undefined;
    readonly origin?: string;
    readonly more?: Json;
    readonly nodeArguments?: readonly string[];
    /** Resolves when it is ready; otherwise at once. */
    readonly untilReady?: boolean;
    /** Nobody reads what it says. */
    readonly deaf?: boolean;
  },
): Promise<Served> {
  const { upstream, redis, more = {}, untilReady = true } = options;
  const origin = options.origin ?? (await loopbackOrigin());
  const operations = new URL(await loopbackOrigin()).host;
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-workers-'));
  const path = join(directory, 'sallyport.yaml');
  const write = (over: Json | string): void => {
    const text =
      typeof over === 'string'
        ? over
        : stringify(configOf(origin, operations, upstream, redis, { ...more, ...over }));
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  };
  write({});
  const child = spawn(process.execPath, [...(options.nodeArguments ?? []), main, 'serve', '--config', path], {
    env: { PATH: process.env['PATH'] ?? '', DIRECTORY: directory },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('it did not start');
  endWithUs(pid);
  const out = { stdout: '', stderr: '' };
  if (options.deaf !== true)
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (out.stderr += chunk));
  const exit = once(child, 'exit') as Promise<[number | null]>;
  t.teardown(async () => {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // All of them are gone.
    }
    await exit;
    rmSync(directory, { recursive: true });
  });
  const lines = (): readonly Json[] =>
    out.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Json);
  const served: Served = {
    origin,
    directory,
    pid,
    child,
    exit,
    out,
    operations,
    write,
    lines,
    told: (message) => lines().filter((line) => line['message'] === message),
    seen: () =>
      new Set(
        lines()
          .filter((line) => line['log_type'] === 'access')
          .map((line) => Number(line['process.pid'])),
      ),
    workers: () => childrenOf(pid),
    look: async (page) => {
      const answer = await fetch(`http://${operations}${page}`);
      return { status: answer.status, text: await answer.text() };
    },
  };
  if (untilReady) {
    await until(
      () =>
        served.look('/readyz').then(
          ({ text }) => text.includes('"accepting":2'),
          () => false,
        ),
      'two workers',
      60_000,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${out.stdout}\n${out.stderr}`);
    });
  }
  return served;
}

/** Whether a process lives (and is no zombie). */
export function lives(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number)
      .filter(lives);
  } catch {
    return [];
  }
}

/** One request on a connection of its own, so that any worker may take it. */
export function ask(
  url: string,
  options: RequestOptions = {},
): Promise<{ readonly status: number; readonly text: string; readonly headers: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent: false, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text, headers: response.headers }),
      );
      response.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** Asks again and again until it is told to stop; tells what came of it. */
export function load(ways: readonly (() => Promise<{ readonly status: number }>)[]): {
  readonly outcomes: ReadonlyMap<string, number>;
  total(): number;
  stop(): Promise<void>;
} {
  const outcomes = new Map<string, number>();
  let runs = true;
  const clients = ways.map(async (way) => {
    while (runs) {
      const outcome = await way().then(
        ({ status }) => String(status),
        (error: unknown) => (error as NodeJS.ErrnoException).code ?? String(error),
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  });
  return {
    outcomes,
    total: () => [...outcomes.values()].reduce((sum, count) => sum + count, 0),
    async stop() {
      runs = false;
      await Promise.all(clients);
    },
  };
}

/** An app that answers at once, or under `slow` after a moment, under `long` after a while. */
export async function startApp(
  t: Test,
): Promise<{ readonly url: string; readonly seen: ReadonlySet<string> }> {
  const seen = new Set<string>();
  const server = createServer((incoming, response) => {
    const { url = '' } = incoming;
    seen.add(url);
    incoming.resume();
    setTimeout(
      () => response.end(`the answer to ${url}`),
      url.includes('long') ? 1_500 : url.includes('slow') ? 30 : 0,
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

/** One request over TLS through a Unix socket: its status, and whose certificate was shown. */
export function askSecurely(socketPath: string, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { agent: false, socketPath, ca, checkServerIdentity: () => undefined } as const;
    const outgoing = secureRequest(
      { ...options, path: '/open/a', headers: { host: 'forge.internal' } },
      (response) => {
        const { socket } = response;
        const name = socket instanceof TLSSocket ? socket.getPeerCertificate().subject.CN : 'none';
        response.resume();
        response.on('end', () => resolve(`${response.statusCode} ${String(name)}`));
        response.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** Every counter of the page, by its series; histograms' parts count up as well. */
export async function countersOf(served: Served): Promise<ReadonlyMap<string, number>> {
  const { text } = await served.look('/metrics');
  const counted = new Set(
    [...text.matchAll(/^# TYPE (\S+) (?:counter|histogram)$/gm)].flatMap(([, name = '']) => [
      name,
      `${name}_bucket`,
      `${name}_sum`,
      `${name}_count`,
    ]),
  );
  return new Map(
    text.split('\n').flatMap((line) => {
      const [, series = '', value] = /^([^#].*) (\S+)$/.exec(line) ?? [];
      return counted.has(series.replace(/\{.*/, '')) ? [[series, Number(value)] as const] : [];
    }),
  );
}

/** So many at once. */
export function many<T>(count: number, work: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, work));
}

/** Ends the whole group when this process is gone, even by SIGKILL: then the pipe closes. */
function endWithUs(pid: number): void {
  const script = 'cat >/dev/null; kill -9 -- "-$0" 2>/dev/null';
  const watcher = spawn('/bin/sh', ['-c', script, String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watcher.unref();
  (watcher.stdin as unknown as { unref(): void }).unref();
}
