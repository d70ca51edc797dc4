import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Which of the two a forge believes where both are there: Gitea before its PR 27821 its own cookie, later ones the proxy's header. */
export type ForgeOrder = 'cookie_first' | 'header_first';

/** By what the forge knew whom a request was from. */
export type ForgeMeans = 'header' | 'cookie' | 'password' | 'token' | 'runner' | 'nobody';

/** A request as the forge saw it. */
export interface ForgeSighting {
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: IncomingMessage['headers'];
  readonly user: string | undefined;
  readonly means: ForgeMeans;
}

export interface TestForge {
  readonly url: string;
  readonly seen: ForgeSighting[];
  /** Tokens that were minted, and for whom. */
  readonly tokens: ReadonlyMap<string, string>;
  /** Every user, those that the header has registered included, with local password if they have one. */
  readonly users: Map<string, string | undefined>;
  /** A token that its user made by the page. */
  addToken(user: string): string;
  /** A cookie that the forge once gave this user, past the proxy or before it was there. */
  addSession(user: string): string;
  close(): Promise<void>;
}

const sessionCookie = 'i_like_gitea';
const rememberCookie = 'gitea_incredible';

/** What takes `Authorization`: git, LFS, the API, packages, the registry, downloads. */
const forTools =
  /^\/(?:api\/(?:v1|packages)(?:\/|$)|v2(?:\/|$)|[^/]+\/[^/]+\/(?:info\/refs|info\/lfs\/|git-[a-z-]+$|HEAD$|objects\/|archive\/|raw\/|media\/|releases\/download\/))/;

/**
 * A forge as far as signing in goes, after services/auth of Gitea and Forgejo: it takes a password wherever it takes a token, mints a
 * cookie for whom the proxy's header names, goes on to that cookie where an `Authorization` makes no sense, gives a lasting token to
 * whoever brings a password, and has a login form, registration and password reset of its own. Nothing here is a defence.
 */
export async function startForge(order: ForgeOrder): Promise<TestForge> {
  const users = new Map<string, string | undefined>();
  const tokens = new Map<string, string>();
  const sessions = new Map<string, string>();
  const seen: ForgeSighting[] = [];

  const addToken = (user: string) => {
    const token = randomBytes(20).toString('hex');
    tokens.set(token, user);
    return token;
  };
  const addSession = (user: string) => {
    const id = randomBytes(8).toString('hex');
    sessions.set(id, user);
    return id;
  };

  function byAuthorization({ headers }: IncomingMessage): readonly [string, ForgeMeans] | undefined {
    const [scheme = '', secret = '', ...more] = (headers.authorization ?? '').trim().split(/\s+/);
    if (more.length > 0) return undefined;
    if (/^(?:token|bearer)$/i.test(scheme)) {
      const user = tokens.get(secret);
      return user === undefined ? undefined : [user, 'token'];
    }
    if (!/^basic$/i.test(scheme)) return undefined;
    const text = Buffer.from(secret, 'base64').toString('utf8');
    const name = text.slice(0, text.indexOf(':'));
    const password = text.slice(text.indexOf(':') + 1);
    const owner = tokens.get(password === '' || password === 'x-oauth-basic' ? name : password);
    if (owner !== undefined) return [owner, 'token'];
    return password !== '' && users.get(name) === password ? [name, 'password'] : undefined;
  }

  function byHeader({ headers }: IncomingMessage): readonly [string, ForgeMeans] | undefined {
    const name = headers['x-webauth-user'];
    if (typeof name !== 'string' || name.trim() === '') return undefined;
    const user = name.trim().toLowerCase();
    if (!users.has(user)) users.set(user, undefined);
    return [user, 'header'];
  }

  function byCookie(request: IncomingMessage): readonly [string, ForgeMeans] | undefined {
    const cookies = cookiesOf(request);
    const user =
      sessions.get(cookies.get(sessionCookie) ?? '') ?? sessions.get(cookies.get(rememberCookie) ?? '');
    return user === undefined ? undefined : [user, 'cookie'];
  }

  function authenticate(request: IncomingMessage, path: string): readonly [string | undefined, ForgeMeans] {
    if (path.startsWith('/api/actions/'))
      return request.headers['x-runner-token'] === 'runner-secret'
        ? ['runner', 'runner']
        : [undefined, 'nobody'];
    const key = request.headers['x-nuget-apikey'];
    const nuget = path.startsWith('/api/packages/') ? tokens.get(String(key)) : undefined;
    if (nuget !== undefined) return [nuget, 'token'];
    const own = order === 'cookie_first' ? [byCookie, byHeader] : [byHeader, byCookie];
    for (const means of [...(forTools.test(path) ? [byAuthorization] : []), ...own]) {
      const found = means(request);
      if (found !== undefined) return found;
    }
    return [undefined, 'nobody'];
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { pathname: path } = new URL(request.url ?? '/', 'http://forge');
      const [user, means] = authenticate(request, path);
      seen.push({ method: request.method ?? '', path, headers: request.headers, user, means });
      answer(request, response, path, user, means, new URLSearchParams(Buffer.concat(chunks).toString()));
    });
  });

  function answer(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    user: string | undefined,
    means: ForgeMeans,
    form: URLSearchParams,
  ): ServerResponse {
    const say = (status: number, body: unknown, headers: Record<string, string | string[]> = {}) => {
      // Forges set a cookie for the language with every answer.
      const cookies = ['lang=en-US; Path=/', headers['set-cookie'] ?? []].flat();
      response.writeHead(status, { 'content-type': 'application/json', ...headers, 'set-cookie': cookies });
      return response.end(JSON.stringify(body));
    };
    const mint = (name: string): string =>
      `${sessionCookie}=${addSession(name)}; Path=/; HttpOnly; SameSite=Lax`;
    const post = request.method === 'POST';

    if (/^\/api\/v1\/users\/[^/]+\/tokens$/.test(path) && post) {
      // Basic with a password, or the proxy's header; a token makes no token.
      if (user === undefined || means === 'token' || (means === 'cookie' && byHeader(request) === undefined))
        return say(401, { message: 'auth required' });
      return say(201, { sha1: addToken(user) });
    }
    if (path === '/user/login' && post) {
      const name = form.get('user_name') ?? '';
      if (users.get(name) === undefined || users.get(name) !== form.get('password'))
        return say(200, { page: 'login' });
      const remember = `${rememberCookie}=${addSession(name)}; Path=/; Max-Age=2678400; HttpOnly`;
      return say(303, {}, { location: '/', 'set-cookie': [mint(name), remember] });
    }
    if (path === '/user/sign_up' && post) {
      users.set(form.get('user_name') ?? '', form.get('password') ?? '');
      return say(303, {}, { location: '/', 'set-cookie': mint(form.get('user_name') ?? '') });
    }
    if (path === '/user/recover_account' && post) {
      users.set(form.get('user_name') ?? '', form.get('password') ?? '');
      return say(200, { page: 'password changed' });
    }
    if (/^\/user\/(?:login|sign_up|forgot_password|recover_account)$/.test(path))
      return say(200, { page: path });
    if (path === '/user/logout') {
      sessions.delete(cookiesOf(request).get(sessionCookie) ?? '');
      const gone = `${sessionCookie}=; Path=/; Max-Age=0`;
      if (form.get('fail') !== null) return say(500, {});
      if (request.headers['x-requested-with'] !== undefined)
        return say(200, { redirect: '/' }, { 'set-cookie': gone });
      return say(303, {}, { location: '/', 'set-cookie': gone });
    }
    if (path.startsWith('/login/oauth/'))
      return say(200, { authorization: request.headers.authorization ?? null });
    if (path.startsWith('/assets/')) return say(200, { asset: path });
    if (user === undefined) {
      if (forTools.test(path) || path.startsWith('/api/')) {
        return say(401, { user: null }, { 'www-authenticate': 'Basic realm="Forge"' });
      }
      return say(303, {}, { location: '/user/login' });
    }
    // Signing in by header on a page leaves a cookie, and remembers where a page says so.
    const fresh = means === 'header' && !forTools.test(path) && byCookie(request)?.[0] !== user;
    return say(200, { user, means, path }, fresh ? { 'set-cookie': mint(user) } : {});
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    tokens,
    users,
    addToken,
    addSession,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function cookiesOf({ headers }: IncomingMessage): ReadonlyMap<string, string> {
  return new Map(
    (headers.cookie ?? '').split(';').map((pair) => {
      const equals = pair.indexOf('=');
      return [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
    }),
  );
}
