import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import type { Configuration, default as Provider, JWK } from 'oidc-provider';
import { type Randomness, randomToken } from '../kernel/randomness.ts';
import { createMemoryAdapter } from './memory-adapter.ts';
import { Html, html, pageHeaders, renderDocument, sendPage, sendStyle, stylePath } from './page.ts';
import { acrOfOneFactor, acrOfTwoFactors, type DemoUser, demoUsers, findDemoUser } from './users.ts';

/** What the demo identity provider needs to know of its one client, Sallyport. */
export interface DemoClient {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly redirectUri: string;
  readonly postLogoutRedirectUri: string;
}

const interactionPath = /^\/interaction\/([\w-]{1,64})$/;

/** More than a button's name and value ever take. */
const maxFormBytes = 1024;

/**
 * A real OpenID provider (node-oidc-provider), with made-up users and no passwords: whoever opens its page chooses who to
 * be. It always asks, so that trying one user after another needs no signing out.
 *
 * @throws an `ERR_MODULE_NOT_FOUND` error where the optional dependency `oidc-provider` is not installed.
 */
export async function createIdentityProvider(
  issuer: string,
  client: DemoClient,
  randomness: Randomness,
): Promise<RequestListener> {
  const { default: ProviderClass, interactionPolicy } = await import('oidc-provider');
  const { Check, Prompt } = interactionPolicy;
  const policy = interactionPolicy.base();
  policy
    .get('login')
    ?.checks.add(
      new Check('choose_user', 'the demo always asks who to be', (context) =>
        context.oidc.result?.login === undefined ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT,
      ),
    );
  // `prompt=select_account` is what Sallyport sends for "sign in with another account"; the login prompt answers it.
  policy.add(new Prompt({ name: 'select_account', requestable: true }), 0);
  const provider = new ProviderClass(issuer, await configure(client, policy, randomness));
  const answer = provider.callback();
  return (request, response) => {
    const path = new URL(request.url ?? '/', issuer).pathname;
    if (path === stylePath) sendStyle(response);
    else if (path === '/') sendPage(response, welcomePage());
    else if (!interactionPath.test(path)) void answer(request, response);
    else {
      interact(provider, request, response).catch(() => {
        sendPage(response, messagePage('This sign-in is over', 'Go back to the forge and start again.'), 400);
      });
    }
  };
}

async function configure(
  client: DemoClient,
  policy: NonNullable<Configuration['interactions']>['policy'],
  randomness: Randomness,
): Promise<Configuration> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const signingKey = { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'demo' } as JWK;
  return {
    adapter: createMemoryAdapter(),
    jwks: { keys: [signingKey] },
    cookies: { keys: [randomToken(randomness)] },
    clients: [
      {
        client_id: client.clientId,
        client_secret: client.clientSecret,
        redirect_uris: [client.redirectUri],
        post_logout_redirect_uris: [client.postLogoutRedirectUri],
        response_types: ['code'],
        grant_types: ['authorization_code'],
        id_token_signed_response_alg: 'ES256',
      },
    ],
    acrValues: [acrOfTwoFactors, acrOfOneFactor],
    scopes: ['openid', 'profile', 'email'],
    claims: {
      openid: ['sub', 'acr', 'amr', 'auth_time'],
      profile: ['name', 'preferred_username', 'groups'],
      email: ['email', 'email_verified'],
    },
    // Profile claims belong in the ID token here, as with most vendors; the strict reading leaves them to userinfo.
    conformIdTokenClaims: false,
    features: {
      devInteractions: { enabled: false },
      claimsParameter: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (context, form) => {
          context.set(pageHeaders);
          context.body = renderDocument(logoutPage(form));
        },
      },
    },
    interactions: { policy: policy ?? [], url: (_context, interaction) => `/interaction/${interaction.uid}` },
    ttl: {
      AccessToken: 600,
      AuthorizationCode: 60,
      IdToken: 600,
      Interaction: 1800,
      Session: 86_400,
      Grant: 86_400,
    },
    findAccount: (_context, id) => {
      const user = findDemoUser(id);
      return user === undefined ? undefined : { accountId: user.id, claims: () => profileOf(user) };
    },
    // There is one client and it is ours: nobody needs to be asked for consent.
    loadExistingGrant: async (context) => {
      const grant = new context.oidc.provider.Grant({
        clientId: client.clientId,
        accountId: context.oidc.session?.accountId ?? '',
      });
      grant.addOIDCScope('openid profile email');
      grant.addOIDCClaims(['acr', 'acrs', 'amr', 'auth_time', 'groups', 'email']);
      await grant.save();
      return grant;
    },
    renderError: (context, out) => {
      context.set(pageHeaders);
      context.body = renderDocument(
        messagePage('The identity provider refused', `${out.error}: ${out.error_description ?? ''}`),
      );
    },
  };
}

function profileOf(user: DemoUser) {
  return {
    sub: user.id,
    name: user.name,
    preferred_username: user.username,
    email: user.email,
    email_verified: true,
    groups: [...user.groups],
  };
}

/** The page where one chooses who to be, and what follows from the choice. */
async function interact(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { uid, session } = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    sendPage(response, chooserPage(uid));
    return;
  }
  const form = new URLSearchParams(await readForm(request));
  const user = findDemoUser(form.get('user') ?? '');
  if (user === undefined) {
    await provider.interactionFinished(request, response, {
      error: 'access_denied',
      error_description: 'The user pressed cancel',
    });
    return;
  }
  const resume = await provider.interactionResult(request, response, {
    login: {
      accountId: user.id,
      ...(user.acr === undefined ? {} : { acr: user.acr }),
      ...(user.amr === undefined ? {} : { amr: [...user.amr] }),
    },
    select_account: {},
  });
  if (session !== undefined && session.accountId !== user.id) await forgetUser(provider, session.uid);
  response.writeHead(303, { location: resume }).end();
}

/**
 * Takes the former user out of the browser's session at the identity provider. Left in, node-oidc-provider would end that
 * session by a page that submits itself by script, and a sign-in must not need script.
 */
async function forgetUser(provider: Provider, sessionUid: string): Promise<void> {
  const session = await provider.Session.findByUid(sessionUid);
  if (session === undefined) return;
  delete session.accountId;
  delete session.authorizations;
  await session.persist();
}

async function readForm(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) {
    body += String(chunk);
    if (body.length > maxFormBytes) throw new RangeError('form too large');
  }
  return body;
}

function chooserPage(uid: string) {
  return {
    title: 'Who do you want to be?',
    place: 'idp',
    main: html`<h1>Who do you want to be?</h1>
      <p class="quiet">
        This is a real OpenID provider with made-up people. No password is asked: choose somebody, and the
        signed ID token will say how they are imagined to have signed in.
      </p>
      <form method="post" action="/interaction/${uid}">
        <ul class="people">
          ${demoUsers.map(
            (user) =>
              html`<li>
                <button name="user" value="${user.id}">
                  <span class="face" aria-hidden="true">${user.name.charAt(0)}</span>
                  <span class="name">${user.name}</span>
                  <span
                    >${user.method} –
                    <span class="${user.admitted ? 'good' : 'bad'}">${user.expectation}</span></span
                  >
                  <span class="claims"
                    >amr <code>${user.amr === undefined ? '(none)' : JSON.stringify(user.amr)}</code> acr
                    <code>${user.acr ?? '(none)'}</code></span
                  >
                </button>
              </li> `,
          )}
        </ul>
        <p class="actions"><button class="second" name="user" value="">Cancel</button></p>
      </form>`,
  } as const;
}

function logoutPage(form: string) {
  // `form` is node-oidc-provider's own markup: a hidden form with a token against forged requests.
  const [before = '', after = ''] = form.split('</form>');
  return {
    title: 'Sign out',
    place: 'idp',
    main: html`<h1>Sign out of the identity provider too?</h1>
<p>Your session at the demo forge has ended. The demo identity provider still remembers you.</p>
${new Html(before)}
<p class="actions"><button name="logout" value="yes">Yes, sign out</button>
<button class="second">No, stay signed in there</button></p>
</form>${new Html(after)}`,
  } as const;
}

function welcomePage() {
  return messagePage(
    'This is the demo identity provider',
    'It has nothing to show by itself: open the demo forge instead.',
  );
}

function messagePage(title: string, text: string) {
  return {
    title,
    place: 'idp',
    main: html`<h1>${title}</h1>
      <p>${text}</p>`,
  } as const;
}
