import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose';
import { type Html, html, sendPage, sendStyle, stylePath } from './page.ts';

/** Where the demo forge finds what it needs of Sallyport. */
export interface ForgeSurroundings {
  /** Sallyport's public origin. */
  readonly sallyportOrigin: string;
  /** Sallyport's `server.path_prefix`. */
  readonly pathPrefix: string;
  /** The audience of the assertions meant for this forge. */
  readonly audience: string;
}

type Assertion = { readonly claims: JWTPayload } | { readonly fault: string };

const imaginedRepositories = [
  ['dotfiles', 'shell, editor and prompt'],
  ['lighthouse', 'firmware of the harbour lights'],
  ['recipes', 'soups, mostly'],
] as const;

/**
 * A forge that believes its identity headers, as Forgejo does behind a reverse proxy, and shows what it was told.
 *
 * It also verifies `X-Sallyport-Assertion` against the published keys: a forge that does so need not trust its network.
 */
export function createForge(surroundings: ForgeSurroundings): RequestListener {
  const { sallyportOrigin, pathPrefix, audience } = surroundings;
  const keys = createRemoteJWKSet(new URL(`${pathPrefix}/jwks.json`, sallyportOrigin));

  async function readAssertion(request: IncomingMessage): Promise<Assertion> {
    const token = request.headers['x-sallyport-assertion'];
    if (typeof token !== 'string') return { fault: 'no assertion came' };
    try {
      const { payload } = await jwtVerify(token, keys, { issuer: sallyportOrigin, audience });
      return { claims: payload };
    } catch (error) {
      return { fault: error instanceof errors.JOSEError ? error.code : 'the keys could not be fetched' };
    }
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?', 1)[0];
    if (path === stylePath) {
      sendStyle(response);
      return;
    }
    if (path !== '/') {
      sendPage(
        response,
        {
          title: 'Not found',
          place: 'forge',
          main: html`<h1>Not found</h1>
            <p><a href="/">To the start</a></p>`,
        },
        404,
      );
      return;
    }
    const main = homePage(request, await readAssertion(request), pathPrefix);
    sendPage(response, { title: 'Your repositories', place: 'forge', main });
  }

  return (request, response) => {
    answer(request, response).catch(() => response.destroy());
  };
}

function homePage(request: IncomingMessage, assertion: Assertion, pathPrefix: string): Html {
  const user = headerOf(request, 'x-webauth-user');
  if (user === undefined) {
    return html`<h1>Nobody is signed in</h1>
      <p>
        No identity header came with this request: the forge was reached past Sallyport, and shows nothing.
      </p>`;
  }
  const name = headerOf(request, 'x-webauth-fullname') ?? user;
  return html`<h1>Hello, ${name}</h1>
    <p>
      You are <strong>${user}</strong> in this forge. Sallyport let you through because the identity provider
      signed how you proved who you are.
    </p>
    <p class="actions">
      <a class="button" href="${pathPrefix}/whoami">whoami: your session and its evidence</a>
      <a class="button second" href="${pathPrefix}/signout">Sign out</a>
    </p>
    <h2>Your repositories</h2>
    <ul>
      ${imaginedRepositories.map(([repository, about]) => html`<li><strong>${user}/${repository}</strong> <span class="quiet">${about}</span></li>`)}
    </ul>
    <h2>The signed assertion</h2>
    ${assertionPart(assertion)}
    <h2>What the forge was told</h2>
    <p class="quiet">
      The headers of this very request. Neither Sallyport's cookie nor anything that a client claims to be is
      among them.
    </p>
    ${headerTable(headersOf(request).filter(([name]) => setBySallyport.test(name)))}
    <details>
      <summary>The browser's own headers, passed on</summary>
      ${headerTable(headersOf(request).filter(([name]) => !setBySallyport.test(name)))}
    </details>`;
}

const setBySallyport = /^x-(webauth|sallyport|forwarded|real-ip|request-id)/i;

function assertionPart(assertion: Assertion): Html {
  if ('fault' in assertion) {
    return html`<p class="bad">Not verified: ${assertion.fault}</p>`;
  }
  return html`<p class="good">
      Signature, issuer, audience and time verified against <code>jwks.json</code>.
    </p>
    <pre>${JSON.stringify(assertion.claims, undefined, 2)}</pre>`;
}

function headerTable(headers: readonly (readonly [string, string])[]): Html {
  return html`<div class="card scroll">
    <table>
      <thead>
        <tr>
          <th scope="col">Header</th>
          <th scope="col">Value</th>
        </tr>
      </thead>
      <tbody>
        ${headers.map(
          ([name, value]) =>
            html`<tr>
              <th scope="row">${name}</th>
              <td>${value.length > 120 ? `${value.slice(0, 120)}…` : value}</td>
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

/** Names and values as they came, duplicates included. */
function headersOf(request: IncomingMessage): readonly (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    pairs.push([request.rawHeaders[index] ?? '', decodeHeader(request.rawHeaders[index + 1] ?? '')]);
  }
  return pairs;
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? decodeHeader(value) : undefined;
}

/** Header values go out as UTF-8, while Node reads header bytes as Latin-1. */
function decodeHeader(value: string): string {
  return Buffer.from(value, 'latin1').toString('utf8');
}
