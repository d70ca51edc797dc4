import { readFileSync } from 'node:fs';
import { request, createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { parse } from 'yaml';
import type { AskingProxyPorts } from './asking-proxy.ts';

/*
 * What Envoy does with config/forward-auth/envoy.yaml, as far as it is about asking: written after Envoy's own source
 * (source/extensions/filters/common/ext_authz/ext_authz_http_impl.cc), since Debian has no Envoy. It does not normalise paths:
 * whatever the test sends is what is asked about.
 */

interface Patterns {
  readonly patterns: readonly { readonly exact?: string; readonly prefix?: string }[];
}
interface HttpService {
  readonly path_prefix: string;
  readonly authorization_request: {
    readonly headers_to_add: readonly { readonly key: string; readonly value: string }[];
  };
  readonly authorization_response: { readonly allowed_upstream_headers: Patterns };
}

/** The ext_authz section of the example, and its routes. */
function readExample() {
  const file = new URL('../../config/forward-auth/envoy.yaml', import.meta.url);
  const whole = parse(readFileSync(file, 'utf8'), { merge: true });
  const manager = whole.static_resources.listeners[0].filter_chains[0].filters[0].typed_config;
  const {
    http_service: service,
    allowed_headers: allowed,
    failure_mode_allow: open,
  } = manager.http_filters[0].typed_config;
  const routes = manager.route_config.virtual_hosts[0].routes as readonly {
    readonly match: { readonly prefix: string };
    readonly route?: { readonly cluster: 'sallyport' | 'app' };
    readonly direct_response?: { readonly status: number };
    readonly typed_per_filter_config?: Readonly<Record<string, { readonly disabled?: boolean }>>;
  }[];
  if (open !== false) throw new Error('the example fails open');
  return { service: service as HttpService, allowed: allowed as Patterns, routes };
}

const matches = ({ patterns }: Patterns, name: string): boolean =>
  patterns.some(({ exact, prefix }) => exact === name || (prefix !== undefined && name.startsWith(prefix)));

/** A proxy of Envoy's shape, by the example. @param hide request headers that the operator has forgotten to allow */
export async function startEnvoyShape(
  ports: AskingProxyPorts,
  hide: readonly string[] = [],
): Promise<{ close(): Promise<void> }> {
  const { service, allowed, routes } = readExample();
  const server = createServer((asked, answer) => {
    void serve(asked).then(
      ({ status, headers, body }) => {
        answer.writeHead(status, headers);
        answer.end(body);
      },
      () => answer.writeHead(503).end(),
    );
  });

  async function serve(asked: IncomingMessage): Promise<Answer> {
    const path = asked.url ?? '';
    const body = await bodyOf(asked);
    const route = routes.find(({ match }) => path.startsWith(match.prefix));
    const filter = route?.typed_per_filter_config?.['envoy.filters.http.ext_authz'];
    if (route === undefined) return { status: 404, headers: {}, body: '' };
    if (route.direct_response !== undefined)
      return { status: route.direct_response.status, headers: {}, body: '' };
    const headers: IncomingHttpHeaders = { ...asked.headers, 'x-forwarded-proto': 'http' };
    headers['x-forwarded-for'] = [asked.headers['x-forwarded-for'], asked.socket.remoteAddress]
      .filter((each) => each !== undefined)
      .join(', ');
    if (filter?.disabled !== true) {
      const forwarded: IncomingHttpHeaders = { 'content-length': '0', 'x-envoy-internal': 'true' };
      for (const [name, value] of Object.entries(headers)) {
        const always = name === 'host' || name === 'authorization';
        if (!hide.includes(name) && (always || matches(allowed, name))) forwarded[name] = value;
      }
      // Over whatever the client has sent under these names.
      for (const { key, value } of service.authorization_request.headers_to_add) forwarded[key] = value;
      const said = await send(
        ports.sallyport,
        asked.method ?? '',
        service.path_prefix + path,
        forwarded,
        undefined,
      );
      if (said.status >= 500) return { status: 503, headers: {}, body: '' };
      if (said.status !== 200) return said;
      for (const [name, value] of Object.entries(said.headers))
        if (matches(service.authorization_response.allowed_upstream_headers, name)) headers[name] = value;
      const gone = String(said.headers['x-envoy-auth-headers-to-remove'] ?? '').split(',');
      for (const name of gone) headers[name.trim().toLowerCase()] = undefined;
    }
    const port = route.route?.cluster === 'sallyport' ? ports.sallyport : ports.app;
    return send(port, asked.method ?? '', path, headers, body);
  }

  await new Promise<void>((resolve) => server.listen(ports.listen, '127.0.0.1', resolve));
  return {
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function send(
  port: number,
  method: string,
  path: string,
  headers: IncomingHttpHeaders,
  body: string | undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const known = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
    const sent = request(
      { host: '127.0.0.1', port, method, path, headers: known, agent: false },
      (answer) => {
        bodyOf(answer).then(
          (text) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }),
          reject,
        );
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of message) text += String(chunk);
  return text;
}
