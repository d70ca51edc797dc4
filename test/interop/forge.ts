import { execFile, spawn } from 'node:child_process';
import {
  chmodSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from '../support/until.ts';
import { findForge, type ForgeBinary } from './forge-binary.ts';

const execute = promisify(execFile);

/** A request straight to the forge, past Sallyport: what a test asks to learn the truth, or an attacker who can reach it. */
export interface DirectRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface DirectAnswer {
  readonly status: number;
  readonly setCookies: readonly string[];
  readonly location: string | undefined;
  readonly body: string;
}

/** A real forge in a directory of its own. */
export interface Forge {
  /** For `upstream.url`. */
  readonly url: string;
  readonly directory: string;
  /** Runs the forge's own command line; its standard output. */
  cli(...args: string[]): Promise<string>;
  /** An account with a password, as an administrator makes it. */
  createUser(name: string, options?: { admin?: boolean; password?: string }): Promise<void>;
  /** A personal access token, as an administrator makes it. */
  createToken(name: string, scopes?: string): Promise<string>;
  direct(request: DirectRequest): Promise<DirectAnswer>;
  readonly log: string;
  stop(): Promise<void>;
}

export interface ForgeOptions {
  /** Where users see it. */
  readonly rootUrl: string;
  /** Default: a Unix socket. */
  readonly tcp?: { readonly host: string; readonly port: number };
  /** More of app.ini, or other values: section → key → value. */
  readonly ini?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** A command that the server is started by, such as `ip netns exec NAME`. */
  readonly wrapper?: readonly string[];
  /** Leave out the administrator's account that is made first. */
  readonly empty?: boolean;
}

export const adminName = 'forge-keeper';
export const adminPassword = 'Keeper-of-the-forge-1';

/** Starts the forge with the app.ini that docs/forgejo.md tells operators to write. */
export async function startForge(options: ForgeOptions): Promise<Forge> {
  const binary = findForge();
  if (binary === undefined) throw new Error('no forge: npm run test:interop builds or finds one');
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-forge-'));
  const socket = join(directory, 'http.sock');
  const config = join(directory, 'app.ini');
  for (const name of ['home', 'custom']) mkdirSync(join(directory, name));
  writeFileSync(config, formatIni(appIni(binary, options, directory, socket)));
  chmodSync(directory, 0o700);
  const env = {
    PATH: process.env['PATH'],
    HOME: join(directory, 'home'),
    GITEA_WORK_DIR: directory,
    FORGEJO_WORK_DIR: directory,
  };
  const cli = async (...args: string[]): Promise<string> => {
    const { stdout } = await execute(binary.path, ['-c', config, ...args], { env, cwd: directory });
    return stdout;
  };
  await cli('migrate');
  const createUser: Forge['createUser'] = async (
    name,
    { admin = false, password = 'A-local-password-1' } = {},
  ) => {
    const flags = ['--username', name, '--password', password, '--email', `${name}@forge.invalid`];
    await cli(
      'admin',
      'user',
      'create',
      ...flags,
      '--must-change-password=false',
      ...(admin ? ['--admin'] : []),
    );
  };
  // On an empty forge some versions make the first user an administrator: ours comes first.
  if (options.empty !== true) await createUser(adminName, { admin: true, password: adminPassword });

  const logFile = join(directory, 'forge.log');
  const line = [...(options.wrapper ?? []), binary.path, '-c', config, 'web'];
  const [command = '', ...args] = line;
  const child = spawn(command, args, { env, cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  writeFileSync(logFile, '');
  const log = createWriteStream(logFile);
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // A test that dies must not leave a server behind.
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);

  const place =
    options.tcp === undefined ? { socketPath: socket } : { host: options.tcp.host, port: options.tcp.port };
  const forge: Forge = {
    url: options.tcp === undefined ? `unix:${socket}` : `http://${options.tcp.host}:${options.tcp.port}`,
    directory,
    cli,
    createUser,
    async createToken(name, scopes = 'all') {
      const id = `t${process.hrtime.bigint().toString(36)}`;
      const flags = ['--username', name, '--token-name', id, '--scopes', scopes, '--raw'];
      return (await cli('admin', 'user', 'generate-access-token', ...flags)).trim().split('\n').at(-1) ?? '';
    },
    direct: ({ method = 'GET', path, headers = {}, body }) =>
      new Promise((resolve, reject) => {
        const message = request(
          { ...place, method, path, headers: { host: 'forge', ...headers }, agent: false },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('error', reject);
            response.on('end', () =>
              resolve({
                status: response.statusCode ?? 0,
                setCookies: response.headers['set-cookie'] ?? [],
                location: response.headers.location,
                body: Buffer.concat(chunks).toString('utf8'),
              }),
            );
          },
        );
        message.on('error', reject);
        message.end(body);
      }),
    get log() {
      return readFileSync(logFile, 'utf8');
    },
    async stop() {
      process.off('exit', kill);
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      const late = setTimeout(kill, 10_000);
      await exited;
      clearTimeout(late);
      log.end();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  const up = async (): Promise<boolean> => {
    if (child.exitCode !== null)
      throw new Error(`the forge did not start:\n${readFileSync(logFile, 'utf8')}`);
    if (options.wrapper !== undefined) return readFileSync(logFile, 'utf8').includes('Listen: ');
    if (options.tcp === undefined && !existsSync(socket)) return false;
    return forge.direct({ path: '/api/healthz' }).then(
      ({ status }) => status === 200,
      () => false,
    );
  };
  try {
    await until(up, 'the forge answers', 60_000);
  } catch (error) {
    await forge.stop();
    throw error;
  }
  return forge;
}

type Ini = Record<string, Record<string, string>>;

function appIni(binary: ForgeBinary, options: ForgeOptions, directory: string, socket: string): Ini {
  const root = process.getuid?.() === 0;
  const ini: Ini = {
    '': {
      APP_NAME: 'Forge',
      RUN_MODE: 'prod',
      ...(root ? { RUN_USER: 'root', I_AM_BEING_UNSAFE_RUNNING_AS_ROOT: 'true' } : {}),
    },
    server: {
      ...(options.tcp === undefined
        ? { PROTOCOL: 'http+unix', HTTP_ADDR: socket, UNIX_SOCKET_PERMISSION: '660' }
        : { PROTOCOL: 'http', HTTP_ADDR: options.tcp.host, HTTP_PORT: String(options.tcp.port) }),
      ROOT_URL: `${options.rootUrl}/`,
      ...(binary.staticRoot === undefined ? {} : { STATIC_ROOT_PATH: binary.staticRoot }),
      DISABLE_SSH: 'true',
      OFFLINE_MODE: 'true',
      LFS_START_SERVER: 'true',
    },
    database: { DB_TYPE: 'sqlite3', PATH: join(directory, 'forge.db') },
    security: {
      INSTALL_LOCK: 'true',
      SECRET_KEY: 'a-secret-key-of-the-tests',
      DISABLE_QUERY_AUTH_TOKEN: 'true',
      REVERSE_PROXY_LOGOUT_REDIRECT: '/_sallyport/signed-out',
    },
    service: {
      ENABLE_REVERSE_PROXY_AUTHENTICATION: 'true',
      ENABLE_REVERSE_PROXY_AUTHENTICATION_API: 'true',
      ENABLE_REVERSE_PROXY_AUTO_REGISTRATION: 'true',
      ENABLE_REVERSE_PROXY_EMAIL: 'true',
      ENABLE_REVERSE_PROXY_FULL_NAME: 'true',
      ENABLE_BASIC_AUTHENTICATION: 'false',
      ENABLE_PASSWORD_SIGNIN_FORM: 'false',
      ENABLE_PASSKEY_AUTHENTICATION: 'false',
      REQUIRE_SIGNIN_VIEW: 'true',
      DISABLE_REGISTRATION: 'true',
    },
    admin: { USER_DISABLED_FEATURES: 'deletion,manage_mfa,manage_credentials,change_username' },
    openid: { ENABLE_OPENID_SIGNIN: 'false', ENABLE_OPENID_SIGNUP: 'false' },
    lfs: { PATH: join(directory, 'lfs') },
    oauth2: { ENABLED: 'true' },
    actions: { ENABLED: 'true' },
    packages: { ENABLED: 'true' },
    log: { MODE: 'console', LEVEL: 'Info' },
    ...('cron' in (options.ini ?? {}) ? {} : { cron: { ENABLED: 'false' } }),
  };
  for (const [section, values] of Object.entries(options.ini ?? {}))
    ini[section] = { ...ini[section], ...values };
  return ini;
}

function formatIni(ini: Ini): string {
  return Object.entries(ini)
    .map(([section, values]) => {
      const lines = Object.entries(values).map(([key, value]) => `${key} = ${value}`);
      return [...(section === '' ? [] : [`[${section}]`]), ...lines, ''].join('\n');
    })
    .join('\n');
}
