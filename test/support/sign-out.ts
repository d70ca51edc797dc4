import type { UserAgent, UserAgentResponse } from './user-agent.ts';

/** Signs a browser out at a Sallyport on `origin`, as its page does: asks for the page, and sends its form. @returns the answer to that */
export async function signOutAt(
  agent: UserAgent,
  origin: string,
  prefix = '/_sallyport',
): Promise<UserAgentResponse> {
  const url = `${origin}${prefix}/signout`;
  const page = await agent.request('GET', url, { navigate: true });
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
  return agent.request('POST', url, {
    navigate: true,
    from: url,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ csrf }).toString(),
  });
}
