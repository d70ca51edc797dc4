import { request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';

/** An answer, as it came: nothing followed, nothing hidden. */
export interface UserAgentResponse {
  readonly url: string;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Flat list of names and values, as on the wire. */
  readonly rawHeaders: readonly string[];
  /** Every `Set-Cookie` line, those that the jar refused included. */
  readonly setCookies: readonly string[];
  /** Absolute `Location`, if any. */
  readonly location: string | undefined;
  readonly body: string;
  readonly bytes: Buffer;
  /** The body, parsed; as loose as a test wants it. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests look into any answer, and fail where it is another
  json(): any;
}

export interface UserAgentRequest {
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer;
  /** Sends what a browser sends on a top-level navigation: Sec-Fetch-*, Accept. Default false. */
  readonly navigate?: boolean;
  /** The page the request comes from (for Sec-Fetch-Site and SameSite); undefined: typed into the address bar. */
  readonly from?: string;
  /** Send no cookie and keep none. */
  readonly withoutCookies?: boolean;
}

/** A cookie in the jar. */
export interface JarCookie {
  readonly name: string;
  readonly value: string;
  readonly site: string;
  readonly path: string;
  readonly secure: boolean;
  readonly httpOnly: boolean;
  readonly sameSite: string;
  /** Milliseconds since the epoch; Infinity for a session cookie. */
  readonly expiresAt: number;
}

export interface UserAgentOptions {
  /** Certificate authorities, PEM. */
  readonly ca?: string;
  /** Browsers share cookies between ports of one host; default false keeps loopback servers apart as real hosts would be. */
  readonly sharePorts?: boolean;
  /** Where a public host and port really listens, e.g. `{'forge.example.com': {host: '127.0.0.1', port: 4180}}`. */
  readonly resolve?: Readonly<Record<string, { readonly host: string; readonly port: number }>>;
}

/** A browser without a screen: a cookie jar, exact headers, redirects only on request. */
export class UserAgent {
  readonly #options: UserAgentOptions;
  #jar: JarCookie[] = [];

  constructor(options: UserAgentOptions = {}) {
    this.#options = options;
  }

  /** Cookies that would go to `url`, or all of them. */
  cookies(url?: string): readonly JarCookie[] {
    this.#jar = this.#jar.filter((cookie) => cookie.expiresAt > Date.now());
    if (url === undefined) return this.#jar;
    const target = new URL(url);
    return this.#jar
      .filter(
        (cookie) =>
          cookie.site === this.#site(target) &&
          pathMatches(target.pathname, cookie.path) &&
          (!cookie.secure || target.protocol === 'https:'),
      )
      .sort((a, b) => b.path.length - a.path.length);
  }

  /** The value of a cookie that would go to `url`. */
  cookie(url: string, name: string): string | undefined {
    return this.cookies(url).find((cookie) => cookie.name === name)?.value;
  }

  /** Puts a cookie into the jar, as `Set-Cookie` from `url` would; false when the jar refuses it. */
  setCookie(url: string, line: string): boolean {
    return this.#store(new URL(url), line);
  }

  /** Forgets the cookies of the host in `url`, or all. */
  clearCookies(url?: string): void {
    const site = url === undefined ? undefined : this.#site(new URL(url));
    this.#jar = site === undefined ? [] : this.#jar.filter((cookie) => cookie.site !== site);
  }

  /** One request, one answer; redirects are not followed. */
  async request(method: string, url: string, options: UserAgentRequest = {}): Promise<UserAgentResponse> {
    return this.#send(method, new URL(url), options, this.#fetchSite([url], options.from));
  }

  /** Navigates to `url` and through at most 20 redirects. */
  async follow(
    url: string,
    options: Omit<UserAgentRequest, 'navigate'> & {
      readonly method?: string;
      readonly until?: (url: string) => boolean;
    } = {},
  ): Promise<{ readonly chain: readonly UserAgentResponse[]; readonly last: UserAgentResponse }> {
    const chain: UserAgentResponse[] = [];
    const urls = [url];
    let method = options.method ?? 'GET';
    let body = options.body;
    for (;;) {
      const here = urls.at(-1) ?? url;
      const request = { ...options, navigate: true };
      if (body === undefined) delete request.body;
      const last = await this.#send(method, new URL(here), request, this.#fetchSite(urls, options.from));
      chain.push(last);
      const next = [301, 302, 303, 307, 308].includes(last.status) ? last.location : undefined;
      if (next === undefined || options.until?.(next) === true) return { chain, last };
      if (chain.length > 20)
        throw new Error(`too many redirects: ${chain.map((hop) => hop.url).join(' → ')}`);
      if (last.status === 303 || (last.status < 303 && method === 'POST')) {
        method = 'GET';
        body = undefined;
      }
      urls.push(next);
    }
  }

  #send(method: string, url: URL, options: UserAgentRequest, site: string): Promise<UserAgentResponse> {
    const navigate = options.navigate === true;
    const crossSite = site === 'cross-site';
    const cookies = this.cookies(url.href).filter(
      ({ sameSite }) =>
        !crossSite ||
        sameSite === 'none' ||
        (sameSite === 'lax' && navigate && ['GET', 'HEAD'].includes(method)),
    );
    const headers: Record<string, string | readonly string[]> = {
      host: url.host,
      'user-agent': 'Mozilla/5.0 (sallyport test)',
      accept: navigate ? 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' : '*/*',
      ...(navigate
        ? {
            'sec-fetch-site': site,
            'sec-fetch-mode': 'navigate',
            'sec-fetch-dest': 'document',
            'sec-fetch-user': '?1',
            'upgrade-insecure-requests': '1',
          }
        : {}),
      ...(cookies.length > 0 && options.withoutCookies !== true
        ? { cookie: cookies.map(({ name, value }) => (name === '' ? value : `${name}=${value}`)).join('; ') }
        : {}),
      ...(options.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(options.body)) }),
      ...Object.fromEntries(
        Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
      ),
    };
    const real = this.#options.resolve?.[url.host] ?? this.#options.resolve?.[url.hostname];
    const secure = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const request = (secure ? httpsRequest : httpRequest)(
        {
          host: real?.host ?? url.hostname.replace(/^\[|\]$/g, ''),
          port: real?.port ?? (url.port === '' ? (secure ? 443 : 80) : url.port),
          path: `${url.pathname}${url.search}`,
          method,
          headers: headers as Record<string, string | string[]>,
          agent: false,
          ...(secure
            ? {
                servername: url.hostname,
                ...(this.#options.ca === undefined ? {} : { ca: this.#options.ca }),
              }
            : {}),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const setCookies = response.headers['set-cookie'] ?? [];
            if (options.withoutCookies !== true) for (const line of setCookies) this.#store(url, line);
            const bytes = Buffer.concat(chunks);
            const body = bytes.toString('utf8');
            const { location } = response.headers;
            resolve({
              url: url.href,
              status: response.statusCode ?? 0,
              headers: response.headers,
              rawHeaders: response.rawHeaders,
              setCookies,
              location: location === undefined ? undefined : new URL(location, url).href,
              body,
              bytes,
              json: () => JSON.parse(body) as unknown,
            });
          });
        },
      );
      request.on('error', reject);
      request.end(options.body);
    });
  }

  #site(url: URL): string {
    return this.#options.sharePorts === true ? url.hostname : url.host;
  }

  /** `Sec-Fetch-Site` over a chain of redirects: `none` when typed, else as far apart as the farthest hop. */
  #fetchSite(urls: readonly string[], from: string | undefined): string {
    if (from === undefined) return 'none';
    const start = new URL(from);
    const hops = urls.map((url) => new URL(url));
    if (hops.every((hop) => hop.origin === start.origin)) return 'same-origin';
    return hops.every((hop) => this.#site(hop) === this.#site(start)) ? 'same-site' : 'cross-site';
  }

  /** The storage model of RFC 6265bis section 5.7, as far as it matters here. */
  #store(url: URL, line: string): boolean {
    const [pair = '', ...attributeList] = line.split(';');
    const equals = pair.indexOf('=');
    const name = equals < 0 ? '' : pair.slice(0, equals).trim();
    const value = pair.slice(equals + 1).trim();
    const attributes = new Map(
      attributeList.map((attribute) => {
        const [key = '', ...rest] = attribute.split('=');
        return [key.trim().toLowerCase(), rest.join('=').trim()] as const;
      }),
    );
    const secure = attributes.has('secure');
    const domain = attributes.get('domain')?.replace(/^\./, '').toLowerCase();
    const givenPath = attributes.get('path');
    const path = givenPath?.startsWith('/') === true ? givenPath : defaultPath(url.pathname);
    if (secure && url.protocol !== 'https:') return false;
    if (domain !== undefined && domain !== url.hostname) return false;
    if (name.startsWith('__Secure-') && !secure) return false;
    if (name.startsWith('__Host-') && (!secure || domain !== undefined || givenPath !== '/')) return false;
    if (Buffer.byteLength(name + value) > 4096) return false;
    const maxAge = attributes.get('max-age');
    const expires = attributes.get('expires');
    const expiresAt =
      maxAge !== undefined && /^-?\d+$/.test(maxAge)
        ? Date.now() + Number(maxAge) * 1000
        : expires === undefined
          ? Infinity
          : Date.parse(expires);
    const site = this.#site(url);
    this.#jar = this.#jar.filter(
      (cookie) => !(cookie.name === name && cookie.site === site && cookie.path === path),
    );
    if (expiresAt > Date.now()) {
      const sameSite = (attributes.get('samesite') ?? 'lax').toLowerCase();
      this.#jar.push({
        name,
        value,
        site,
        path,
        secure,
        httpOnly: attributes.has('httponly'),
        sameSite,
        expiresAt,
      });
    }
    return true;
  }
}

function defaultPath(pathname: string): string {
  const last = pathname.lastIndexOf('/');
  return last <= 0 ? '/' : pathname.slice(0, last);
}

function pathMatches(requestPath: string, cookiePath: string): boolean {
  return (
    requestPath === cookiePath ||
    (requestPath.startsWith(cookiePath) &&
      (cookiePath.endsWith('/') || requestPath[cookiePath.length] === '/'))
  );
}
