import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort } from './ports.ts';

/** A real Redis server on a loopback port of its own. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Stops the process; its data stay for {@link restart}. Safe to call twice. */
  stop(): Promise<void>;
  /** SIGKILL: no goodbye, nothing written on the way out; its data stay as they are on the disk. */
  kill(): Promise<void>;
  /** SIGSTOP: connections are accepted by the kernel, nothing is ever answered. */
  pause(): void;
  resume(): void;
  /** Stops it if it runs, and starts it again on the same port with the same data, or with none. */
  restart(options?: { empty?: boolean }): Promise<void>;
  /** One command, as an operator would type it. */
  command(name: string, ...args: readonly string[]): Promise<unknown>;
  /** Every key, and every raw value (latin1), as they stand in all databases. */
  dump(): Promise<string[]>;
}

/**
 * Starts Debian's redis-server in a directory of its own. It is gone with the test process, however that ends. Where
 * it is not installed, root installs it.
 */
export async function startRedis(
  options: { args?: readonly string[]; port?: number } = {},
): Promise<RedisServer> {
  const executable = redisExecutable();
  const dir = makeRedisDirectory();
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort());
    try {
      return await runServer(executable, dir, port, options.args ?? []);
    } catch (error) {
      // Another test may have taken the free port in between.
      if (options.port !== undefined || attempt === 5) throw error;
    }
  }
}

/** Debian's redis-server; where it is not installed, root installs it. */
export function redisExecutable(): string {
  return findRedisServer() ?? installRedisServer();
}

/** A directory of its own; the server whose `redis.pid` stands there, and the directory, are gone with the test process. */
export function makeRedisDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sallyport-redis-'));
  guard(dir);
  return dir;
}

async function runServer(
  executable: string,
  dir: string,
  port: number,
  args: readonly string[],
): Promise<RedisServer> {
  let child = await launch(executable, dir, port, args);

  async function stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.ref();
    child.kill('SIGCONT');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(late);
  }

  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop: () => stop(),
    kill: () => stop('SIGKILL'),
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    async restart({ empty = false } = {}) {
      await stop();
      if (empty) rmSync(join(dir, 'appendonlydir'), { recursive: true, force: true });
      child = await launch(executable, dir, port, args);
    },
    async command(name, ...args) {
      const redis = new Redis(port, '127.0.0.1', { protocol: 2 });
      try {
        return await redis.call(name, ...args);
      } finally {
        redis.disconnect();
      }
    },
    dump: () => dumpAll(port),
  };
}

async function launch(
  executable: string,
  dir: string,
  port: number,
  args: readonly string[],
): Promise<ChildProcess> {
  const log = join(dir, 'redis.log');
  const before = existsSync(log) ? readFileSync(log).length : 0;
  // Append-only, so that what was answered before a stop is there after it; of no matter to the disk, for which a busy server would wait.
  const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--logfile', log];
  const child = spawn(
    executable,
    [
      ...own,
      '--pidfile',
      join(dir, 'redis.pid'),
      '--save',
      '',
      '--appendonly',
      'yes',
      '--appendfsync',
      'no',
      ...args,
    ],
    { stdio: 'ignore' },
  );
  // A test that forgets to stop it ends all the same.
  child.unref();
  let failure: string | undefined;
  child.once('error', (error) => (failure = error.message));
  const deadline = Date.now() + 15_000;
  for (;;) {
    const text = existsSync(log) ? readFileSync(log).subarray(before).toString() : '';
    if (text.includes('Ready to accept connections')) return child;
    if (failure !== undefined || child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(
        `redis-server did not start: ${failure ?? text.trim().split('\n').slice(-3).join(' | ')}`,
      );
    }
    await wait(15);
  }
}

/** Ends the server and removes its directory when this process is gone, even by SIGKILL: then the pipe closes. */
function guard(dir: string): void {
  const script =
    'cat >/dev/null; pid=$(cat "$0/redis.pid" 2>/dev/null) && kill -9 "$pid" 2>/dev/null; sleep 0.2; rm -rf "$0"';
  // In a group of its own: an interrupt at the terminal must not end the guard first.
  const watcher = spawn('/bin/sh', ['-c', script, dir], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watcher.unref();
  (watcher.stdin as unknown as { unref(): void }).unref();
  watcher.once('error', () => rmSync(dir, { recursive: true, force: true }));
}

async function dumpAll(port: number): Promise<string[]> {
  const lines: string[] = [];
  const redis = new Redis(port, '127.0.0.1', { protocol: 2 });
  try {
    const [, databases] = await redis.config('GET', 'databases');
    for (let db = 0; db < Number(databases); db += 1) {
      await redis.select(db);
      for (const key of await redis.keysBuffer('*'))
        lines.push(key.toString('latin1'), ...(await readValue(redis, key)));
    }
  } finally {
    redis.disconnect();
  }
  return lines;
}

async function readValue(redis: Redis, key: Buffer): Promise<string[]> {
  switch (await redis.type(key)) {
    case 'string':
      return [((await redis.getBuffer(key)) ?? Buffer.alloc(0)).toString('latin1')];
    case 'hash':
      return flatten(await redis.callBuffer('HGETALL', key));
    case 'set':
      return flatten(await redis.callBuffer('SMEMBERS', key));
    case 'list':
      return flatten(await redis.callBuffer('LRANGE', key, '0', '-1'));
    case 'zset':
      return flatten(await redis.callBuffer('ZRANGE', key, '0', '-1', 'WITHSCORES'));
    case 'none':
      return [];
    default:
      throw new Error('a type of value that this dump cannot read');
  }
}

function flatten(reply: unknown): string[] {
  return (reply as Buffer[]).map((value) => value.toString('latin1'));
}

function findRedisServer(): string | undefined {
  const dirs = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin'];
  return dirs.map((dir) => join(dir, 'redis-server')).find((path) => existsSync(path));
}

/** Installs Debian's package; test files run side by side, so under a lock that looks again once it is held. */
function installRedisServer(): string {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(
      'these tests need a real redis-server: install it (on Debian: apt-get install redis-server)',
    );
  }
  const script =
    'command -v redis-server || (apt-get update && apt-get install -y --no-install-recommends redis-server)';
  try {
    execFileSync('flock', [join(tmpdir(), 'sallyport-test-redis.lock'), 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  } catch (error) {
    throw new Error('redis-server is missing, and installing the Debian package failed', { cause: error });
  }
  const found = findRedisServer();
  if (found === undefined)
    throw new Error('redis-server is still missing after installing the Debian package');
  return found;
}
