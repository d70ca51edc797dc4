import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/until.ts';

const binary = '/usr/sbin/nginx';

/** Sees to it that Debian's nginx is there. @throws with one clear line when it is not and can't be installed */
function requireNginx(): void {
  if (existsSync(binary)) return;
  if (process.getuid?.() === 0) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    spawnSync('apt-get', ['update'], { env });
    spawnSync('apt-get', ['install', '-y', '--no-install-recommends', 'nginx-light'], { env });
    if (existsSync(binary)) return;
  }
  throw new Error('the comparison needs nginx: apt-get install nginx-light');
}

export interface Nginx {
  /** The Unix socket on which it answers. */
  readonly path: string;
  close(): Promise<void>;
}

/** Starts a plain reverse proxy to a TCP port, streaming both ways as Sallyport does. */
export async function startNginx(directory: string, upstreamPort: number): Promise<Nginx> {
  requireNginx();
  const path = join(directory, 'n.sock');
  for (const name of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) mkdirSync(join(directory, name));
  const config = join(directory, 'nginx.conf');
  const user = process.getuid?.() === 0 ? 'user root;\n' : '';
  writeFileSync(
    config,
    `${user}daemon off; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error.log info;
events { worker_connections 256; }
http {
  access_log off; client_max_body_size 0; large_client_header_buffers 4 32k;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy; fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
  upstream app { server 127.0.0.1:${upstreamPort}; keepalive 4; }
  server {
    listen unix:${path};
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_buffering off; proxy_request_buffering off;
    }
  }
}
`,
  );
  const child = spawn(binary, ['-c', config, '-p', directory, '-e', `${directory}/error.log`], {
    stdio: 'ignore',
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await until(() => {
    if (child.exitCode !== null) throw new Error(`nginx: ${readFileSync(`${directory}/error.log`, 'utf8')}`);
    return existsSync(path);
  }, 'nginx listening');
  return {
    path,
    close: () => {
      child.kill('SIGTERM');
      return exited;
    },
  };
}
