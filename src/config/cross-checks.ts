import { checkBearer } from './bearer-checks.ts';
import type { Finding, KeyPath } from './faults.ts';
import { Judge } from './judge.ts';
import { checkOperators } from './operator-checks.ts';
import { checkRoutes } from './route-checks.ts';
import type { Config } from './schema.ts';
import { checkServer } from './server-checks.ts';
import { checkSession } from './session-checks.ts';
import { checkSources } from './source-checks.ts';
import { checkUpstream } from './upstream-checks.ts';

/** What the definition cannot say: values with a syntax of their own, and combinations. Pure. */
export function crossCheck(
  config: Config,
  unsound: readonly KeyPath[],
): { readonly findings: readonly Finding[]; readonly warnings: readonly string[] } {
  const judge = new Judge(unsound);
  checkServer(judge, config);
  checkUpstream(judge, config);
  checkSession(judge, config);
  checkSources(judge, config);
  checkRoutes(judge, config);
  checkBearer(judge, config);
  checkOperators(judge, config);
  return judge;
}
