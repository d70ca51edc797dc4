import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../setup/programs.ts';
import { until } from './until.ts';

/** A real proxy that asks Sallyport about each request, as the example under config/forward-auth/ has it. */
export interface AskingProxy {
  readonly name: 'nginx' | 'Caddy';
  close(): Promise<void>;
}

export interface AskingProxyPorts {
  readonly listen: number;
  readonly sallyport: number;
  readonly app: number;
}

const example = (name: string): string =>
  readFileSync(new URL(`../../config/forward-auth/${name}`, import.meta.url), 'utf8');

/** The example, for other ports than its own. @throws when it does not say what is to be replaced */
function moved(text: string, { sallyport, app }: AskingProxyPorts): string {
  for (const address of ['127.0.0.1:4180', '127.0.0.1:3000'])
    if (!text.includes(address)) throw new Error(`the example does not name ${address}`);
  return text
    .replaceAll('127.0.0.1:4180', `127.0.0.1:${sallyport}`)
    .replaceAll('127.0.0.1:3000', `127.0.0.1:${app}`);
}

/** Starts Debian's nginx with config/forward-auth/nginx.conf as its one server. */
export async function startAskingNginx(ports: AskingProxyPorts): Promise<AskingProxy> {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-nginx-'));
  for (const name of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) mkdirSync(join(directory, name));
  const file = join(directory, 'nginx.conf');
  const user = process.getuid?.() === 0 ? 'user root;\n' : '';
  writeFileSync(
    file,
    `${user}daemon off; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error.log info;
events { worker_connections 256; }
http {
  access_log off; client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi; uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
  server {
    listen 127.0.0.1:${ports.listen};
${moved(example('nginx.conf'), ports)}
  }
}
`,
  );
  const args = ['-c', file, '-p', directory, '-e', `${directory}/error.log`];
  return start('nginx', 'nginx', args, directory, ports.listen);
}

/** Starts Debian's Caddy with config/forward-auth/Caddyfile, over plain HTTP. */
export async function startAskingCaddy(ports: AskingProxyPorts): Promise<AskingProxy> {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-caddy-'));
  const file = join(directory, 'Caddyfile');
  const site = 'https://app.example.com {';
  const text = moved(example('Caddyfile'), ports);
  if (!text.includes(site)) throw new Error(`the example does not say ${site}`);
  writeFileSync(
    file,
    `{\n\tadmin off\n\tauto_https off\n}\n${text.replace(site, `http://127.0.0.1:${ports.listen} {`)}`,
  );
  return start(
    'Caddy',
    'caddy',
    ['run', '--config', file, '--adapter', 'caddyfile'],
    directory,
    ports.listen,
  );
}

async function start(
  name: AskingProxy['name'],
  program: string,
  args: readonly string[],
  directory: string,
  port: number,
): Promise<AskingProxy> {
  const binary = findProgram(program);
  if (binary === undefined) throw new Error(`${program} is not installed: npm run pretest says how`);
  const env = { ...process.env, HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory };
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString('utf8')}`.slice(-4000)));
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await until(() => {
    if (child.exitCode !== null) throw new Error(`${name} has ended: ${said}`);
    return accepts(port);
  }, `${name} listening`);
  return {
    name,
    async close() {
      child.kill('SIGTERM');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
