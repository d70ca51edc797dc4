import type { UpstreamConfig } from '../../config/schema.ts';
import { connectUpstream } from '../../proxy/upstream.ts';
import { fail, ok, warn, type Area, type Finding } from './finding.ts';

/** Whether the app behind answers at all; its own status is its own affair. */
export async function checkUpstream(config: UpstreamConfig, publicHost: string): Promise<Area> {
  return { name: 'upstream', findings: [await tryUpstream(config, publicHost)] };
}

async function tryUpstream(config: UpstreamConfig, publicHost: string): Promise<Finding> {
  const upstream = connectUpstream(
    { ...config, response_timeout: Math.min(config.response_timeout, 10_000) },
    32_768,
  );
  try {
    const { statusCode, body } = await upstream.pool.request({
      path: '/',
      method: 'GET',
      ...(config.pass_host ? { headers: { host: publicHost } } : {}),
    });
    await body.dump();
    const answered = `${config.url} answers (status ${statusCode})`;
    return statusCode >= 500 ? warn(answered, 'see why the app answers with an error') : ok(answered);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'no answer';
    return fail(`${config.url}: ${code}`, cureOf(code));
  } finally {
    await upstream.close();
  }
}

function cureOf(code: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'start the app, or correct upstream.url';
    case 'ENOENT':
      return "the socket is not there: start the app, or correct upstream.url (unix:/path); its folder must be shared with Sallyport's container";
    case 'EACCES':
      return 'the socket may not be opened by this user: give it a group that both processes are in';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'correct the host name in upstream.url';
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'UND_ERR_HEADERS_TIMEOUT':
      return 'it does not answer in time: see whether it is up and reachable from here';
    default:
      return /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code)
        ? 'its certificate is not trusted: give upstream.tls.ca_file (and server_name); verification is always on'
        : 'see whether it is up and speaks HTTP';
  }
}
