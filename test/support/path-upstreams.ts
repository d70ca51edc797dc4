import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { freePort } from './ports.ts';
import { until } from './until.ts';

/*
 * Upstreams that serve a tree of resources, each by its own reading of a request target. What they serve tells which resource it is:
 * `resource:/admin/panel`.
 */

/** An upstream that says by `resource:PATH` what it took a target for. */
export interface PathUpstream {
  readonly name: string;
  readonly url: string;
  close(): Promise<void>;
}

/** The resource that an answer's body stands for; undefined when it is none of the tree. */
export function resourceIn(body: string): string | undefined {
  return /resource:(\/[^\s"<]*)/.exec(body)?.[1];
}

/** How Node servers turn a target into a path; each is how some widespread library does it. */
const nodeReadings: Readonly<Record<string, (target: string) => string>> = {
  // `new URL(request.url, base)`: backslashes are slashes, `%2e%2e` is `..`.
  whatwg: (target) => decodeURIComponent(new URL(target, 'http://upstream.invalid').pathname),
  // serve-static and send: the path is decoded once, then normalised.
  static: (target) => posix.normalize(decodeURIComponent(target.split(/[?#]/, 1)[0] ?? '')),
  // Decoding until nothing changes, as where a rewrite decodes and the router decodes again.
  lenient: (target) => {
    let path = target.replace(/^[a-z]+:\/\/[^/]*/i, '').split(/[?#]/, 1)[0] ?? '';
    for (let round = 0; round < 4; round += 1) path = decodeBytes(path);
    return posix.normalize(
      path
        .replace(/\\/g, '/')
        .replace(/;[^/]*/g, '')
        .split('\u0000', 1)[0] ?? '',
    );
  },
  // No normalising at all: segments are decoded one by one, as path-to-regexp's users do; case is folded, as Express does.
  folding: (target) => {
    const segments = (target.split('?', 1)[0] ?? '').split('/').filter((segment) => segment !== '');
    return `/${segments.map((segment) => decodeURIComponent(segment).toLowerCase()).join('/')}`;
  },
};

const decodeBytes = (path: string): string =>
  path.replace(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));

export const nodeReadingNames: readonly string[] = Object.keys(nodeReadings);

/** A Node server with one of {@link nodeReadingNames}. */
export async function startNodeTree(reading: string, resources: readonly string[]): Promise<PathUpstream> {
  const read = nodeReadings[reading];
  if (read === undefined) throw new Error(`no such reading: ${reading}`);
  const server = createServer((request, response) => {
    let path = '';
    try {
      path = read(request.url ?? '')
        .replace(/\/{2,}/g, '/')
        .replace(/(?<=.)\/+$/, '');
    } catch {
      response.statusCode = 400;
    }
    const known = resources.includes(path);
    if (!known && response.statusCode === 200) response.statusCode = 404;
    response.end(known ? `resource:${path}\n` : 'nothing here\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    name: `Node, ${reading}`,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Debian's nginx with a folder of files. */
export async function startNginxTree(resources: readonly string[]): Promise<PathUpstream> {
  const binary = '/usr/sbin/nginx';
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-tree-'));
  for (const resource of resources) {
    const file = join(directory, 'tree', resource);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `resource:${resource}\n`);
  }
  const port = await freePort();
  const config = join(directory, 'nginx.conf');
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${directory}/${name};`)
    .join(' ');
  writeFileSync(
    config,
    `${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error.log crit;
events { worker_connections 64; }
http {
  access_log off; default_type text/plain; ${folders}
  server { listen 127.0.0.1:${port}; root ${directory}/tree; absolute_redirect off; }
}
`,
  );
  const child = spawn(binary, ['-c', config, '-p', directory, '-e', `${directory}/error.log`], {
    stdio: 'ignore',
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await until(() => {
    if (child.exitCode !== null) throw new Error(`nginx: ${readFileSync(`${directory}/error.log`, 'utf8')}`);
    return existsSync(join(directory, 'pid')) && readFileSync(join(directory, 'pid'), 'utf8').trim() !== '';
  }, 'nginx listening');
  return {
    name: 'nginx',
    url: `http://127.0.0.1:${port}`,
    async close() {
      child.kill('SIGTERM');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A Go net/http server built from `source`; @throws when there is no Go. */
export async function startGoTree(
  go: string,
  source: string,
  resources: readonly string[],
): Promise<PathUpstream> {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-go-tree-'));
  const binary = join(directory, 'tree');
  const built = spawnSync(go, ['build', '-o', binary, source], {
    env: { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=mod', GO111MODULE: 'off' },
    encoding: 'utf8',
  });
  if (built.status !== 0) throw new Error(`go build: ${built.stderr}`);
  const child = spawn(binary, [...resources], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const address = await until(() => /^listening (\S+)\n/.exec(printed)?.[1], 'the Go server listens');
  return {
    name: 'Go net/http',
    url: `http://${address}`,
    async close() {
      child.kill('SIGTERM');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
