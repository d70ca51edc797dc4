import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import Provider, { interactionPolicy } from 'oidc-provider';
import type { AdapterPayload, ClientMetadata, Configuration, KoaContextWithOIDC } from 'oidc-provider';

type Json = Record<string, unknown>;

/** Who signs in at the OP's next interaction, and what its tokens say of it. */
export interface TestLogin {
  sub: string;
  /** Exactly what the ID token carries; absent when undefined. Any JSON, as odd as a vendor or an attacker likes. */
  amr?: unknown;
  acr?: unknown;
  /** Seconds since the epoch; default: the moment of the interaction. */
  authTime?: unknown;
  /** Profile claims: email, email_verified, name, preferred_username, groups … */
  claims?: Json;
  /** More ID token claims, laid over everything else; `undefined` removes one. */
  idTokenClaims?: Json;
}

/** One of the OP's endpoints. */
export type OpEndpoint =
  | 'discovery'
  | 'jwks'
  | 'authorization'
  | 'resume'
  | 'interaction'
  | 'par'
  | 'token'
  | 'userinfo'
  | 'end_session'
  | 'other';

/** A request that the OP got; of `authorization` a pushed request's contents are included. */
export interface OpRequest {
  readonly endpoint: OpEndpoint;
  readonly method: string;
  readonly params: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
}

/** A network or protocol fault to answer with, instead of (or, for delay and contentType, on top of) the real answer. */
export type Fault =
  | { readonly kind: 'delay'; readonly ms: number }
  /** Answers as it would, but not before the test says so. */
  | { readonly kind: 'hold'; readonly until: Promise<unknown> }
  /** Accepts the request and never answers. */
  | { readonly kind: 'hang' }
  | { readonly kind: 'reset' }
  /** Streams so many bytes of JSON-looking body. */
  | { readonly kind: 'huge'; readonly bytes: number }
  /** A small gzip body that inflates to so many bytes of JSON. */
  | { readonly kind: 'gzipBomb'; readonly bytes: number }
  | { readonly kind: 'redirect'; readonly location: string; readonly status?: number }
  | { readonly kind: 'contentType'; readonly value: string }
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly body?: string;
      readonly contentType?: string;
    }
  | { readonly kind: 'invalidJson' };

/** What {@link TestOp.tamperIdToken} gets to work with. */
export interface TamperInput {
  readonly header: Json;
  readonly claims: Json;
  /** The token as the OP would have sent it. */
  readonly idToken: string;
  readonly accessToken: string | undefined;
  /** Signs with the OP's own current key; the header's `alg` is written as given, the real algorithm is the key's. */
  readonly resign: (header: Json, claims: Json) => string;
  readonly signingKey: OpKey;
}

/** A signing key of the OP. */
export interface OpKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export interface OpOptions {
  readonly clients?: readonly ClientMetadata[];
  /** Signing algorithm of ID tokens; default RS256. */
  readonly alg?: 'RS256' | 'PS256' | 'ES256' | 'EdDSA';
  readonly acrValues?: readonly string[];
  /** Pushed authorization requests; default `offered`. */
  readonly par?: 'offered' | 'required' | 'off';
  /** Whether profile claims come in the ID token (default) or from userinfo alone. */
  readonly profileIn?: 'id_token' | 'userinfo';
  /** Whether an existing session at the OP signs in silently, as real ones do; default false: every trip is an interaction. */
  readonly sso?: boolean;
  /** What an essential `acr` that the login does not meet leads to; default `ignore`. */
  readonly essentialAcr?: 'ignore' | 'refuse';
  /** Whether it tells clients of a sign-out by back-channel itself; their `backchannel_logout_uri` may be on the loopback. */
  readonly backChannelLogout?: boolean;
  /** Told of each logout token that the OP sends, before it sends it. */
  readonly onLogoutToken?: (url: string, body: string) => void;
  /** Anything else of node-oidc-provider's configuration. */
  readonly configuration?: Configuration;
}

/** A real OpenID provider in this process, whose answers a test can bend. */
export interface TestOp {
  readonly issuer: string;
  readonly requests: OpRequest[];
  nextLogin: TestLogin;
  /** Answer the next authorization with this error at the callback (used up by it). */
  nextError: { error: string; error_description?: string } | undefined;
  tamperIdToken: ((input: TamperInput) => string | { header?: Json; claims?: Json }) | undefined;
  /** Changes the token endpoint's successful answer; after tamperIdToken. */
  tamperTokenResponse: ((body: Json) => unknown) | undefined;
  tamperUserinfo: ((body: Json) => unknown) | undefined;
  /** Changes the JWKS document. */
  tamperJwks: ((body: { keys: Json[] }) => unknown) | undefined;
  /** Merged into the discovery document; `undefined` removes a member. */
  metadataOverride: Json;
  fault: ((endpoint: OpEndpoint, request: IncomingMessage) => Fault | undefined) | undefined;
  signingKey(): OpKey;
  /** Replaces the signing keys; the old ones leave the JWKS. */
  rotateKeys(): OpKey;
  /** How many requests an endpoint got. */
  count(endpoint: OpEndpoint): number;
  stop(): Promise<void>;
  /** Starts again on the same port. */
  restart(): Promise<void>;
}

/** A compact JWS over `claims` with exactly this header; the algorithm used is `alg`, whatever the header says. */
export function signJws(header: Json, claims: unknown, key: KeyObject, alg: string): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${part(header)}.${part(claims)}`;
  const hash = alg === 'EdDSA' || alg === 'Ed25519' ? null : `sha${alg.slice(2)}`;
  const pss = alg.startsWith('PS') ? { padding: 6, saltLength: Number(alg.slice(2)) / 8 } : {};
  const signature = sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363', ...pss });
  return `${input}.${signature.toString('base64url')}`;
}

/** A fresh key pair for `alg`. */
export function makeKey(alg: 'RS256' | 'PS256' | 'ES256' | 'EdDSA', kid: string): OpKey {
  const pair =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : alg === 'EdDSA'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { kid, alg, ...pair };
}

/** `at_hash` of an access token for an algorithm with SHA-`bits` (OIDC Core section 3.1.3.6). */
export function atHash(accessToken: string, bits = 256): string {
  const digest = createHash(`sha${bits}`).update(accessToken).digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
}

const pathEndpoints: Readonly<Record<string, OpEndpoint>> = {
  '/.well-known/openid-configuration': 'discovery',
  '/jwks': 'jwks',
  '/auth': 'authorization',
  '/request': 'par',
  '/token': 'token',
  '/me': 'userinfo',
  '/session/end': 'end_session',
};

function endpointOf(url: string | undefined): OpEndpoint {
  const path = (url ?? '/').split('?', 1)[0] ?? '/';
  if (path.startsWith('/auth/')) return 'resume';
  if (path.startsWith('/interaction/')) return 'interaction';
  return pathEndpoints[path] ?? 'other';
}

/** Keeps the OP's state across {@link TestOp.rotateKeys} and {@link TestOp.restart}. */
function memoryAdapter(store: Map<string, AdapterPayload>) {
  return (model: string) => {
    const key = (id: string) => `${model}:${id}`;
    return {
      async upsert(id: string, payload: AdapterPayload) {
        store.set(key(id), payload);
      },
      async find(id: string) {
        return store.get(key(id));
      },
      async findByUid(uid: string) {
        return [...store].find(([name, value]) => name.startsWith(`${model}:`) && value.uid === uid)?.[1];
      },
      async findByUserCode() {
        return undefined;
      },
      async destroy(id: string) {
        store.delete(key(id));
      },
      async consume(id: string) {
        const payload = store.get(key(id));
        if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000);
      },
      async revokeByGrantId(grantId: string) {
        for (const [name, value] of store) if (value.grantId === grantId) store.delete(name);
      },
    };
  };
}

const withoutUndefined = (value: Json): Json =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));

const decodePart = (part: string | undefined): Json =>
  JSON.parse(Buffer.from(part ?? '', 'base64url').toString()) as Json;

/** Starts a real node-oidc-provider on a free loopback port. */
export async function startOp(options: OpOptions = {}): Promise<TestOp> {
  return new RunningOp(options).begin();
}

class RunningOp implements TestOp {
  issuer = '';
  readonly requests: OpRequest[] = [];
  nextLogin: TestLogin = {
    sub: 'alice',
    amr: ['pwd', 'otp', 'mfa'],
    claims: {
      email: 'alice@example.com',
      email_verified: true,
      name: 'Alice Example',
      preferred_username: 'alice',
      groups: ['dev'],
    },
  };
  nextError: TestOp['nextError'];
  tamperIdToken: TestOp['tamperIdToken'];
  tamperTokenResponse: TestOp['tamperTokenResponse'];
  tamperUserinfo: TestOp['tamperUserinfo'];
  tamperJwks: TestOp['tamperJwks'];
  metadataOverride: Json = {};
  fault: TestOp['fault'];

  readonly #options: OpOptions;
  readonly #store = new Map<string, AdapterPayload>();
  readonly #loginOfGrant = new Map<string, TestLogin>();
  readonly #lastLoginOf = new Map<string, TestLogin>();
  readonly #faults = new WeakMap<IncomingMessage, Fault>();
  readonly #logins: TestLogin[] = [];
  readonly #pushed = new Map<string, Json>();
  #server: Server | undefined;
  #port = 0;
  #generation = 0;
  #key!: OpKey;
  #provider!: Provider;
  #callback!: (request: IncomingMessage, response: ServerResponse) => unknown;

  constructor(options: OpOptions) {
    this.#options = options;
  }

  async begin(): Promise<this> {
    await this.#listen();
    this.issuer = `http://127.0.0.1:${this.#port}`;
    this.rotateKeys();
    return this;
  }

  signingKey(): OpKey {
    return this.#key;
  }

  rotateKeys(): OpKey {
    this.#generation += 1;
    this.#key = makeKey(this.#options.alg ?? 'RS256', `key-${this.#generation}`);
    this.#provider = new Provider(this.issuer, this.#configuration());
    this.#provider.use((ctx, next) => this.#bend(ctx as KoaContextWithOIDC, next));
    this.#callback = this.#provider.callback();
    return this.#key;
  }

  count(endpoint: OpEndpoint): number {
    return this.requests.filter((request) => request.endpoint === endpoint).length;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.#listen();
  }

  async #listen(): Promise<void> {
    const server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        response.statusCode = 500;
        response.end(String(error));
      });
    });
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  #configuration(): Configuration {
    const alg = this.#options.alg ?? 'RS256';
    const policy = interactionPolicy.base();
    const login = policy.get('login');
    // The OP under test answers as told: it neither insists on an acr nor on the age of a login made up by the test.
    login?.checks.remove('essential_acr');
    login?.checks.remove('essential_acrs');
    login?.checks.add(
      new interactionPolicy.Check('interaction_each_time', 'sign in', (ctx) => {
        const result = ctx.oidc.result as { login?: unknown } | undefined;
        return this.#options.sso !== true && result?.login === undefined;
      }),
    );
    policy.remove('consent');
    policy.add(new interactionPolicy.Prompt({ name: 'consent', requestable: true }));
    policy.add(new interactionPolicy.Prompt({ name: 'select_account', requestable: true }));
    const par = this.#options.par ?? 'offered';
    return {
      adapter: memoryAdapter(this.#store),
      clients: [...(this.#options.clients ?? [])],
      clientDefaults: { id_token_signed_response_alg: alg },
      jwks: {
        keys: [{ ...this.#key.privateKey.export({ format: 'jwk' }), kid: this.#key.kid, alg, use: 'sig' }],
      },
      cookies: { keys: ['test-op-cookie-key'] },
      acrValues: [...(this.#options.acrValues ?? [])],
      claims: {
        openid: ['sub', 'acr', 'amr', 'auth_time'],
        email: ['email', 'email_verified'],
        profile: ['name', 'preferred_username'],
        groups: ['groups'],
      },
      scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
      conformIdTokenClaims: true,
      pkce: { required: () => true },
      features: {
        devInteractions: { enabled: false },
        claimsParameter: { enabled: true },
        backchannelLogout: { enabled: this.#options.backChannelLogout === true },
        rpInitiatedLogout: {
          enabled: true,
          logoutSource: (ctx, form) => {
            ctx.body = `<!doctype html><title>Sign out</title>${form}<button form="op.logoutForm" name="logout" value="yes">Sign out</button>`;
          },
        },
        pushedAuthorizationRequests: {
          enabled: par !== 'off',
          requirePushedAuthorizationRequests: par === 'required',
        },
        userinfo: { enabled: true },
      },
      enabledJWA: { idTokenSigningAlgValues: [alg] as never },
      ttl: {
        AccessToken: 3600,
        AuthorizationCode: 60,
        IdToken: 3600,
        Interaction: 600,
        Session: 86_400,
        Grant: 86_400,
      },
      interactions: { policy, url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
      findAccount: (_ctx, sub, token) => {
        const grantId = (token as { grantId?: string } | undefined)?.grantId;
        const who = this.#loginOfGrant.get(grantId ?? '') ?? this.#lastLoginOf.get(sub);
        return { accountId: sub, claims: () => ({ ...who?.claims, sub }) };
      },
      loadExistingGrant: async (ctx) => {
        const accountId = ctx.oidc.session?.accountId;
        const clientId = ctx.oidc.client?.clientId;
        if (accountId === undefined || clientId === undefined) return undefined;
        const grant = new this.#provider.Grant({ accountId, clientId });
        grant.addOIDCScope(`${String(ctx.oidc.params?.['scope'])} openid`);
        const id = await grant.save();
        const number = (ctx.oidc.result as { loginNumber?: number } | undefined)?.loginNumber;
        const who = number === undefined ? this.#lastLoginOf.get(accountId) : this.#logins[number];
        if (who !== undefined) this.#loginOfGrant.set(id, who);
        return grant;
      },
      // Without its guard against special-use addresses: the loopback is where everything is here.
      fetch: (url, init) => {
        const body = init?.body instanceof URLSearchParams ? init.body.toString() : '';
        this.#options.onLogoutToken?.(new URL(url).href, body);
        return globalThis.fetch(url, { ...init, dispatcher: undefined } as object);
      },
      renderError: (ctx, out) => {
        ctx.type = 'json';
        ctx.body = out;
      },
      ...this.#options.configuration,
    };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const endpoint = endpointOf(request.url);
    const fault = this.fault?.(endpoint, request);
    if (fault !== undefined) {
      if (!(await this.#answerFault(fault, endpoint, request, response))) return;
    }
    if (endpoint === 'interaction') {
      await this.#interact(request, response);
      return;
    }
    if (this.#options.sso !== true && (endpoint === 'authorization' || endpoint === 'resume'))
      this.#forgetSession(request);
    await this.#callback(request, response);
  }

  /** Without single sign-on each trip starts as a stranger: users may change, tabs may cross, no form submits itself. */
  #forgetSession(request: IncomingMessage): void {
    const others = (request.headers.cookie ?? '').split('; ').filter((pair) => !pair.startsWith('_session'));
    request.headers.cookie = others.join('; ');
  }

  async #interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { params } = await this.#provider.interactionDetails(request, response);
    const error = this.nextError ?? this.#unmetAcr(params);
    if (error !== undefined) {
      this.nextError = undefined;
      await this.#provider.interactionFinished(request, response, error);
      return;
    }
    const login: TestLogin = { authTime: Math.floor(Date.now() / 1000), ...this.nextLogin };
    this.#lastLoginOf.set(login.sub, login);
    const loginNumber = this.#logins.push(login) - 1;
    const result = { login: { accountId: login.sub }, consent: {}, select_account: {}, loginNumber };
    await this.#provider.interactionFinished(request, response, result);
  }

  #unmetAcr(params: Json): { error: string; error_description: string } | undefined {
    if (this.#options.essentialAcr !== 'refuse' || typeof params['claims'] !== 'string') return undefined;
    const claims = JSON.parse(params['claims']) as {
      id_token?: { acr?: { essential?: boolean; value?: string; values?: string[] } };
    };
    const acr = claims.id_token?.acr;
    const wanted = acr?.values ?? (acr?.value === undefined ? [] : [acr.value]);
    if (acr?.essential !== true || wanted.length === 0 || wanted.includes(String(this.nextLogin.acr)))
      return undefined;
    return { error: 'unmet_authentication_requirements', error_description: 'the requested acr was not met' };
  }

  /** @returns whether the real answer shall follow. */
  async #answerFault(
    fault: Fault,
    endpoint: OpEndpoint,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<boolean> {
    if (fault.kind === 'contentType') {
      this.#faults.set(request, fault);
      return true;
    }
    if (fault.kind === 'delay') {
      await new Promise((resolve) => setTimeout(resolve, fault.ms).unref());
      return true;
    }
    if (fault.kind === 'hold') {
      await fault.until;
      return true;
    }
    this.requests.push({ endpoint, method: request.method ?? '', params: {}, headers: request.headers });
    const reply = (status: number, headers: Record<string, string>, body: string | Buffer) => {
      request.resume();
      response.writeHead(status, headers);
      response.end(body);
    };
    const json = { 'content-type': 'application/json' };
    switch (fault.kind) {
      case 'hang':
        break;
      case 'reset':
        request.socket.resetAndDestroy();
        break;
      case 'redirect':
        reply(fault.status ?? 307, { location: fault.location }, '');
        break;
      case 'status':
        reply(fault.status, { 'content-type': fault.contentType ?? 'application/json' }, fault.body ?? '{}');
        break;
      case 'invalidJson':
        reply(200, json, '{"access_token":');
        break;
      case 'gzipBomb':
        reply(
          200,
          { ...json, 'content-encoding': 'gzip' },
          gzipSync(`{"padding":"${'A'.repeat(fault.bytes)}"}`),
        );
        break;
      case 'huge': {
        response.writeHead(200, json);
        response.write('{"padding":"');
        const chunk = Buffer.alloc(65_536, 'A');
        for (let sent = 0; sent < fault.bytes && !response.destroyed; sent += chunk.length) {
          if (!response.write(chunk)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
        }
        response.end('"}');
      }
    }
    return false;
  }

  /** Runs around every request of the OP: records it, and bends its answer. */
  async #bend(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
    await next();
    const endpoint = endpointOf(ctx.req.url);
    const oidc = ctx.oidc as KoaContextWithOIDC['oidc'] | undefined;
    const sent = { ...ctx.query, ...(oidc?.body as Json | undefined) };
    const pushedUri = endpoint === 'par' ? (ctx.body as Json | undefined)?.['request_uri'] : undefined;
    if (typeof pushedUri === 'string') this.#pushed.set(pushedUri, sent);
    const params = { ...this.#pushed.get(String(sent['request_uri'])), ...sent };
    this.requests.push({
      endpoint,
      method: ctx.method,
      params: withoutUndefined(params) as Record<string, string>,
      headers: ctx.req.headers,
    });
    const body = ctx.body as Json | undefined;
    if (endpoint === 'discovery' && ctx.status === 200)
      ctx.body = withoutUndefined({ ...body, ...this.metadataOverride });
    if (endpoint === 'jwks' && ctx.status === 200 && this.tamperJwks !== undefined) {
      ctx.body = this.tamperJwks(body as { keys: Json[] });
    }
    if (endpoint === 'userinfo' && ctx.status === 200) {
      const grantId = oidc?.entities.AccessToken?.grantId ?? '';
      const full = { ...this.#loginOfGrant.get(grantId)?.claims, ...body };
      ctx.body = this.tamperUserinfo === undefined ? full : this.tamperUserinfo(full);
    }
    if (endpoint === 'token' && ctx.status === 200 && typeof body?.['id_token'] === 'string') {
      const grantId = oidc?.entities.AuthorizationCode?.grantId ?? oidc?.entities.RefreshToken?.grantId ?? '';
      const answer = {
        ...body,
        id_token: this.#idToken(body['id_token'], body['access_token'], this.#loginOfGrant.get(grantId)),
      };
      ctx.body = this.tamperTokenResponse === undefined ? answer : this.tamperTokenResponse(answer);
    }
    const fault = this.#faults.get(ctx.req);
    if (fault?.kind === 'contentType') {
      const text = typeof ctx.body === 'string' ? ctx.body : JSON.stringify(ctx.body);
      ctx.body = text;
      ctx.set('content-type', fault.value);
    }
  }

  #idToken(original: string, accessToken: unknown, login: TestLogin | undefined): string {
    const [head, payload] = original.split('.');
    const header = decodePart(head);
    const real = decodePart(payload);
    const claims = withoutUndefined({
      ...(this.#options.profileIn === 'userinfo' ? {} : login?.claims),
      ...real,
      amr: login?.amr,
      acr: login?.acr,
      auth_time: login?.authTime,
      ...login?.idTokenClaims,
    });
    const resign = (ownHeader: Json, ownClaims: Json) =>
      signJws(ownHeader, ownClaims, this.#key.privateKey, this.#key.alg);
    const idToken = resign(header, claims);
    if (this.tamperIdToken === undefined) return idToken;
    const tampered = this.tamperIdToken({
      header,
      claims,
      idToken,
      accessToken: typeof accessToken === 'string' ? accessToken : undefined,
      resign,
      signingKey: this.#key,
    });
    return typeof tampered === 'string'
      ? tampered
      : resign(tampered.header ?? header, tampered.claims ?? claims);
  }
}

/** The public half of a PEM or key, as PEM: what an attacker reads from the JWKS. */
export function publicPem(key: KeyObject): string {
  const publicKey =
    key.type === 'private'
      ? createPublicKey(createPrivateKey(key.export({ type: 'pkcs8', format: 'pem' })))
      : key;
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
}
