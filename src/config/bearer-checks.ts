import type { Judge } from './judge.ts';
import type { Config } from './schema.ts';

/** `bearer`, and the routes that go by it. */
export function checkBearer(judge: Judge, { bearer, routes, sources }: Config): void {
  const { audiences, typ } = bearer;
  for (const [index, route] of routes.entries()) {
    if (route.access !== 'bearer' || audiences.length > 0) continue;
    judge.miss(
      ['bearer', 'audiences'],
      [['routes', index, 'access']],
      `required by the route ${route.name}: without an audience no access token is ever taken`,
      'write the aud that your access tokens for this app have',
    );
    break;
  }
  for (const [index, audience] of audiences.entries()) {
    const source = sources.find(({ client_id }) => client_id === audience);
    if (source === undefined) continue;
    judge.refuseTogether(
      ['bearer', 'audiences', index],
      [['sources']],
      `is the client_id of the source ${source.id}: an ID token would pass for an access token`,
      'give the API an identifier of its own at the identity provider',
    );
  }
  if (typ.length === 0)
    judge.refuse(['bearer', 'typ'], 'expected at least one type', 'leave it out for at+jwt');
  if (audiences.length > 0 && !routes.some(({ access }) => access === 'bearer'))
    judge.warn(['bearer', 'audiences'], 'has no effect: no route has access: bearer');
  if (typ.some((type) => /^(?:application\/)?jwt$/i.test(type)))
    judge.warn(
      ['bearer', 'typ'],
      'JWT is the type of ID tokens too: those are told apart by their audience and claims alone',
    );
}
