import fc from 'fast-check';
import t from 'tap';
import { stand } from '../../src/assurance/outcome.ts';
import { decideGate } from '../../src/policy/gate.ts';
import { plainRule } from '../../src/policy/routes.ts';
import type { Access, GateRequest, RouteRule, SessionFacts } from '../../src/policy/types.ts';
import { policyOf } from '../assurance/policies.ts';

const now = 1_700_000_000;
const nowMs = now * 1000;
const origin = 'https://forge.example.com';

const request = (more: Partial<GateRequest> = {}): GateRequest => ({
  method: 'GET',
  navigation: true,
  upgrade: false,
  fetchSite: undefined,
  requestOrigin: undefined,
  publicOrigins: new Set([origin, 'https://git.example.com']),
  credential: undefined,
  ...more,
});
const standings = {
  aal2: stand({ amr: ['mfa'] }, policyOf(), nobody(), now, nowMs),
  reported: stand({ amr: ['pwd'] }, policyOf({ mode: 'report_only' }), nobody(), now, nowMs),
  none: stand({}, policyOf({ mode: 'carry_over' }), nobody(), now, nowMs),
  attested: stand({}, policyOf({ mode: 'trust_idp' }), nobody(), now, nowMs),
  rejected: stand({}, policyOf(), nobody(), now, nowMs),
};
function nobody() {
  return { verifiedEmail: undefined, groups: undefined };
}
const session = (
  standing: keyof typeof standings = 'aal2',
  more: Partial<SessionFacts> = {},
): SessionFacts => ({
  sourceId: 'entra',
  groups: ['users'],
  verifiedEmail: 'Ann@example.com',
  authTime: now - 100,
  authenticatedAt: now - 100,
  forced: false,
  standing: standings[standing],
  ...more,
});
const rule = (more: Partial<RouteRule> = {}, access: Access = 'session'): RouteRule => ({
  ...plainRule('it', '/**', access),
  ...more,
});
const pass = { kind: 'pass', withSession: true };
const refused = (code: string) => ({ kind: 'refuse', status: 403, code });

t.test('session: only a session that is admitted passes', async (t) => {
  t.strictSame(decideGate(rule(), request(), undefined, nowMs), {
    kind: 'sign_in',
    reason: 'session_required',
  });
  for (const standing of ['aal2', 'reported', 'none', 'attested'] as const) {
    t.strictSame(decideGate(rule(), request(), session(standing), nowMs), pass, standing);
  }
  t.strictSame(decideGate(rule(), request(), session('rejected'), nowMs), {
    kind: 'sign_in',
    reason: 'session_not_sufficient',
  });
});

t.test('public: everyone passes, and only an admitted session goes along', async (t) => {
  const open = rule({}, 'public');
  t.strictSame(decideGate(open, request(), undefined, nowMs), { kind: 'pass', withSession: false });
  t.strictSame(decideGate(open, request(), session('rejected'), nowMs), { kind: 'pass', withSession: false });
  t.strictSame(decideGate(open, request(), session('none'), nowMs), pass);
});

t.test('deny: no one passes', async (t) => {
  for (const who of [undefined, session(), session('rejected')]) {
    for (const method of ['GET', 'POST']) {
      t.strictSame(decideGate(rule({}, 'deny'), request({ method }), who, nowMs), refused('route_denied'));
    }
  }
});

t.test(
  "the forge's own login form: a navigation goes to sign-in, or home; anything else is refused",
  async (t) => {
    const login = rule({ signInInstead: true }, 'deny');
    t.strictSame(decideGate(login, request(), undefined, nowMs), {
      kind: 'sign_in',
      reason: 'session_required',
    });
    t.strictSame(decideGate(login, request(), session(), nowMs), { kind: 'redirect_home' });
    t.match(decideGate(login, request(), session('rejected'), nowMs), {
      kind: 'sign_in',
      reason: 'session_not_sufficient',
    });
    for (const who of [undefined, session()]) {
      t.strictSame(
        decideGate(login, request({ method: 'POST', navigation: false }), who, nowMs),
        refused('route_denied'),
      );
      t.strictSame(decideGate(login, request({ upgrade: true }), who, nowMs), refused('route_denied'));
    }
  },
);

t.test('an access that does not exist opens nothing', async (t) => {
  for (const access of ['everyone' as Access, null as unknown as Access] as const) {
    t.strictSame(decideGate(rule({}, access), request(), session(), nowMs), refused('access_not_supported'));
  }
});

const passOn = { kind: 'pass', withSession: false, withCredential: true };

t.test('credentials: a token passes alone, whatever session came along', async (t) => {
  const tools = rule({ requireAal: 'aal2', maxAuthAgeSeconds: 1, groups: ['admins'] }, 'credentials');
  for (const who of [undefined, session(), session('rejected')]) {
    for (const more of [{}, { method: 'POST', fetchSite: 'cross-site' }, { navigation: false }]) {
      t.strictSame(decideGate(tools, request({ credential: 'token', ...more }), who, nowMs), passOn);
      for (const [credential, code] of [
        ['password', 'password_refused'],
        ['malformed', 'credential_malformed'],
        ['new kind' as 'token', undefined],
      ] as const) {
        t.strictSame(
          decideGate(tools, request({ credential, ...more }), who, nowMs),
          code === undefined ? refused('credential_malformed') : { kind: 'refuse_credential', code },
          credential,
        );
      }
    }
  }
  t.strictSame(
    decideGate(tools, request({ credential: 'token', upgrade: true, navigation: false }), undefined, nowMs),
    refused('origin_not_allowed'),
  );
});

t.test('credentials: without one a session is asked for, and narrowed, as anywhere', async (t) => {
  const tools = rule({}, 'credentials');
  t.match(decideGate(tools, request(), undefined, nowMs), { kind: 'sign_in' }, 'a person');
  for (const who of [undefined, session('rejected')]) {
    t.strictSame(decideGate(tools, request({ navigation: false }), who, nowMs), { kind: 'ask_credential' });
  }
  t.strictSame(decideGate(tools, request({ navigation: false }), session(), nowMs), pass);
  t.strictSame(
    decideGate(tools, request({ method: 'POST', fetchSite: 'cross-site' }), session(), nowMs),
    refused('cross_site_request'),
  );
  const strong = rule({ requireAal: 'aal2' }, 'credentials');
  t.match(decideGate(strong, request(), session('none'), nowMs), { kind: 'step_up' });
  t.strictSame(
    decideGate(rule({ groups: ['admins'] }, 'credentials'), request(), session(), nowMs),
    refused('group_not_allowed'),
  );
});

t.test('session, public, deny: a credential opens nothing', async (t) => {
  for (const credential of ['token', 'password', 'malformed'] as const) {
    t.match(decideGate(rule(), request({ credential }), undefined, nowMs), { kind: 'sign_in' });
    t.strictSame(
      decideGate(rule({}, 'deny'), request({ credential }), session(), nowMs),
      refused('route_denied'),
    );
    t.strictSame(decideGate(rule({}, 'public'), request({ credential }), undefined, nowMs), {
      kind: 'pass',
      withSession: false,
    });
  }
});

t.test('upstream: everyone passes with what they brought, nobody with a session', async (t) => {
  for (const who of [undefined, session(), session('rejected')]) {
    for (const method of ['GET', 'POST']) {
      const asked = request({ method, fetchSite: 'cross-site' });
      t.strictSame(decideGate(rule({}, 'upstream'), asked, who, nowMs), passOn);
    }
  }
  t.strictSame(
    decideGate(rule({}, 'upstream'), request({ upgrade: true, navigation: false }), undefined, nowMs),
    refused('origin_not_allowed'),
  );
});

t.test("the forge's sign-out: no image or frame in what users write, by GET", async (t) => {
  const logout = rule({ endsSession: true });
  for (const fetchDest of ['document', 'empty', undefined] as const)
    t.strictSame(
      decideGate(logout, request({ fetchSite: 'same-origin', fetchDest }), session(), nowMs),
      pass,
    );
  for (const fetchDest of ['image', 'iframe', 'embed', 'style', 'script', 'video', '']) {
    const asked = request({ fetchSite: 'same-origin', fetchDest, navigation: false });
    t.strictSame(decideGate(logout, asked, session(), nowMs), refused('cross_site_request'), fetchDest);
    t.strictSame(decideGate(rule({}), asked, session(), nowMs), pass, `${fetchDest}, of anything else`);
  }
});

t.test("the forge's sign-out: no other site may link to it, not even by GET", async (t) => {
  const logout = rule({ endsSession: true });
  for (const method of ['GET', 'HEAD', 'POST']) {
    for (const fetchSite of ['same-origin', 'none', undefined] as const)
      t.strictSame(decideGate(logout, request({ method, fetchSite }), session(), nowMs), pass);
    for (const fetchSite of ['cross-site', 'same-site', ''])
      t.strictSame(
        decideGate(logout, request({ method, fetchSite }), session(), nowMs),
        refused('cross_site_request'),
      );
    t.strictSame(
      decideGate(logout, request({ method, requestOrigin: 'https://evil.example' }), session(), nowMs),
      refused('cross_site_request'),
    );
  }
  t.strictSame(decideGate(logout, request(), undefined, nowMs), { kind: 'signed_out' });
  t.match(decideGate(logout, request({ navigation: false }), undefined, nowMs), { kind: 'sign_in' });
});

t.test('narrowing: every list that is written has to be satisfied', async (t) => {
  const rows: readonly [Partial<RouteRule>, Partial<SessionFacts>, string | undefined][] = [
    [{ sources: ['entra', 'okta'] }, {}, undefined],
    [{ sources: ['okta'] }, {}, 'source_not_allowed'],
    [{ sources: [] }, {}, 'source_not_allowed'],
    [{ sources: ['Entra'] }, {}, 'source_not_allowed'],
    [{ groups: ['admins', 'users'] }, {}, undefined],
    [{ groups: ['admins'] }, {}, 'group_not_allowed'],
    [{ groups: ['Users'] }, {}, 'group_not_allowed'],
    [{ groups: [] }, {}, 'group_not_allowed'],
    [{ groups: ['users'] }, { groups: undefined }, 'group_not_allowed'],
    [{ groups: ['users'] }, { groups: [] }, 'group_not_allowed'],
    [{ emails: ['ann@EXAMPLE.com'] }, {}, undefined],
    [{ emails: ['bob@example.com'] }, {}, 'email_not_allowed'],
    [{ emails: [] }, {}, 'email_not_allowed'],
    [{ emails: ['ann@example.com'] }, { verifiedEmail: undefined }, 'email_not_allowed'],
    [{ groups: ['users'], emails: ['bob@example.com'] }, {}, 'email_not_allowed'],
    [{ groups: ['users'], emails: ['ann@example.com'], sources: ['entra'] }, {}, undefined],
  ];
  for (const [narrow, who, code] of rows) {
    const decision = decideGate(rule(narrow), request(), session('aal2', who), nowMs);
    t.strictSame(decision, code === undefined ? pass : refused(code), JSON.stringify([narrow, who]));
  }
});

t.test('require_aal: one fresh sign-in, and then 403', async (t) => {
  const strong = rule({ requireAal: 'aal2', maxAuthAgeSeconds: 900 });
  const lenient = rule({ requireAal: 'aal2', acceptAttested: true });
  t.strictSame(decideGate(strong, request(), session('aal2'), nowMs), pass);
  for (const standing of ['reported', 'none'] as const) {
    t.strictSame(decideGate(strong, request(), session(standing), nowMs), {
      kind: 'step_up',
      reason: 'aal2_required',
      requireAal: 'aal2',
      maxAuthAgeSeconds: 900,
    });
    t.strictSame(
      decideGate(strong, request(), session(standing, { forced: true }), nowMs),
      refused('aal2_required'),
    );
    t.match(
      decideGate(lenient, request(), session(standing), nowMs),
      { kind: 'step_up' },
      'accept_attested is for attested ones',
    );
  }
  t.match(decideGate(strong, request(), session('attested'), nowMs), {
    kind: 'step_up',
    reason: 'attested_not_accepted',
  });
  t.strictSame(
    decideGate(strong, request(), session('attested', { forced: true }), nowMs),
    refused('attested_not_accepted'),
  );
  t.strictSame(decideGate(lenient, request(), session('attested'), nowMs), pass);
  t.strictSame(decideGate(rule({ requireAal: 'aal1' }), request(), session('none'), nowMs), pass);
});

t.test('max_auth_age: judged at the moment of the request, and never a loop', async (t) => {
  const fresh = rule({ maxAuthAgeSeconds: 900 });
  const decide = (who: Partial<SessionFacts>) => decideGate(fresh, request(), session('aal2', who), nowMs);
  const stepUp = (reason: string) => ({
    kind: 'step_up',
    reason,
    requireAal: undefined,
    maxAuthAgeSeconds: 900,
  });
  t.strictSame(decide({ authTime: now - 900 }), pass);
  t.strictSame(decide({ authTime: now - 960 }), pass, 'within the skew');
  t.strictSame(decide({ authTime: now + 60 }), pass, 'within the skew');
  t.strictSame(decide({ authTime: now - 961 }), stepUp('auth_too_old'));
  t.strictSame(decide({ authTime: undefined }), stepUp('auth_time_missing'));
  t.strictSame(decide({ authTime: now + 61 }), stepUp('auth_time_in_future'));
  const forced = { forced: true, authenticatedAt: now - 5 };
  t.strictSame(
    decide({ ...forced, authTime: now - 961 }),
    refused('auth_too_old'),
    'the IdP ignored max_age',
  );
  t.strictSame(decide({ ...forced, authTime: undefined }), refused('auth_time_missing'));
  t.strictSame(decide({ ...forced, authTime: now + 61 }), refused('auth_time_in_future'));
  const longAgo = { forced: true, authenticatedAt: now - 5000, authTime: now - 5000 };
  t.strictSame(decide(longAgo), stepUp('auth_too_old'), 'a forced sign-in that has simply grown old');
  t.strictSame(
    decideGate(rule(), request(), session('aal2', { authTime: undefined }), nowMs),
    pass,
    'nobody asked',
  );
});

t.test('who is not meant at all is not sent to step up', async (t) => {
  const both = rule({ groups: ['admins'], requireAal: 'aal2', maxAuthAgeSeconds: 1 });
  t.strictSame(
    decideGate(both, request(), session('none', { authTime: 0 }), nowMs),
    refused('group_not_allowed'),
  );
});

t.test('an unsafe method with a session has to come from our own pages', async (t) => {
  const rows: readonly [Partial<GateRequest>, boolean][] = [
    [{ fetchSite: 'same-origin' }, true],
    [{ fetchSite: 'none' }, true],
    [{ fetchSite: 'same-origin', requestOrigin: 'https://evil.example' }, true],
    [{ fetchSite: 'same-site' }, false],
    [{ fetchSite: 'cross-site' }, false],
    [{ fetchSite: '' }, false],
    [{ fetchSite: 'same-origin, none' }, false],
    [{ fetchSite: 'cross-site', requestOrigin: origin }, false],
    [{}, true],
    [{ requestOrigin: origin }, true],
    [{ requestOrigin: 'https://git.example.com' }, true],
    [{ requestOrigin: 'null' }, false],
    [{ requestOrigin: '' }, false],
    [{ requestOrigin: 'https://evil.example' }, false],
    [{ requestOrigin: 'http://forge.example.com' }, false],
    [{ requestOrigin: `${origin}:443` }, false],
    [{ requestOrigin: `${origin}/` }, false],
  ];
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'LOCK', 'post', 'get', 'BREW']) {
    for (const [headers, allowed] of rows) {
      const asked = request({ method, navigation: false, ...headers });
      const title = `${method} ${JSON.stringify(headers)}`;
      for (const access of ['session', 'public'] as const) {
        t.strictSame(
          decideGate(rule({}, access), asked, session(), nowMs),
          allowed ? pass : refused('cross_site_request'),
          `${title} on ${access}`,
        );
      }
      t.strictSame(decideGate(rule({}, 'public'), asked, undefined, nowMs), {
        kind: 'pass',
        withSession: false,
      });
      t.strictSame(decideGate(rule({}, 'public'), asked, session('rejected'), nowMs), {
        kind: 'pass',
        withSession: false,
      });
      t.match(
        decideGate(rule(), asked, undefined, nowMs),
        { kind: 'sign_in' },
        'without a session there is nothing to forge',
      );
    }
  }
  for (const method of ['GET', 'HEAD', 'OPTIONS']) {
    const asked = request({ method, fetchSite: 'cross-site', requestOrigin: 'https://evil.example' });
    t.strictSame(decideGate(rule(), asked, session(), nowMs), pass, `${method} changes nothing`);
  }
});

t.test(
  'a WebSocket has to come from one of our origins, on every access that lets one through',
  async (t) => {
    const foreign = [
      undefined,
      '',
      'null',
      'https://evil.example',
      'http://forge.example.com',
      `${origin}.evil.example`,
    ];
    for (const access of ['session', 'public'] as const) {
      for (const who of [undefined, session(), session('rejected')]) {
        for (const requestOrigin of foreign) {
          const asked = request({
            upgrade: true,
            navigation: false,
            requestOrigin,
            fetchSite: 'same-origin',
          });
          t.strictSame(decideGate(rule({}, access), asked, who, nowMs), refused('origin_not_allowed'));
        }
      }
      const own = request({ upgrade: true, navigation: false, requestOrigin: 'https://git.example.com' });
      t.strictSame(decideGate(rule({}, access), own, session(), nowMs), pass);
    }
  },
);

t.test(
  'property: nothing passes with a session that is not admitted, nor with session and credential at once, nor where neither is asked for',
  async () => {
    const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
    const anyRule = fc.record<RouteRule>({
      name: fc.constant('it'),
      path: fc.constant('/**'),
      methods: fc.constant(undefined),
      access: fc.constantFrom('session', 'credentials', 'bearer', 'public', 'upstream', 'deny'),
      requireAal: fc.constantFrom('aal1', 'aal2', undefined),
      maxAuthAgeSeconds: optional(fc.nat({ max: 1000 })),
      acceptAttested: fc.boolean(),
      sources: optional(fc.subarray(['entra', 'okta'])),
      groups: optional(fc.subarray(['users', 'admins'])),
      emails: optional(fc.subarray(['ann@example.com', 'bob@example.com'])),
      signInInstead: fc.boolean(),
      credentialHeaders: fc.constant(undefined),
      endsSession: fc.boolean(),
    });
    const anyRequest = fc.record<GateRequest>({
      method: fc.constantFrom('GET', 'HEAD', 'POST', 'DELETE'),
      navigation: fc.boolean(),
      upgrade: fc.boolean(),
      fetchSite: fc.constantFrom(undefined, 'same-origin', 'none', 'cross-site', 'same-site'),
      requestOrigin: fc.constantFrom(undefined, origin, 'null', 'https://evil.example'),
      publicOrigins: fc.constant(new Set([origin])),
      credential: fc.constantFrom(undefined, 'token', 'password', 'malformed'),
      bearer: fc.constantFrom(
        undefined,
        { taken: true } as const,
        { taken: false, status: 401, code: 'bearer_token_invalid', hint: '' } as const,
      ),
    });
    const anySession = optional(
      fc.record<SessionFacts>({
        sourceId: fc.constantFrom('entra', 'okta'),
        groups: optional(fc.subarray(['users', 'admins'])),
        verifiedEmail: fc.constantFrom(undefined, 'ann@example.com'),
        authTime: optional(fc.integer({ min: now - 2000, max: now + 200 })),
        authenticatedAt: fc.integer({ min: now - 2000, max: now }),
        forced: fc.boolean(),
        standing: fc.constantFrom(...Object.values(standings)),
      }),
    );
    fc.assert(
      fc.property(anyRule, anyRequest, anySession, (each, asked, who) => {
        const decision = decideGate(each, asked, who, nowMs);
        const admitted = who?.standing.outcome.admit === true;
        if (decision.kind === 'redirect_home') return admitted && each.signInInstead;
        const asksSession = ['session', 'credentials', 'bearer'].includes(each.access);
        const byToken = each.access === 'bearer' && asked.bearer?.taken === true;
        // A token whose assurance does not do is told what would; a session is then sent to sign in.
        if (decision.kind === 'step_up') return asksSession && (admitted || byToken);
        if (decision.kind === 'signed_out') return !admitted && each.endsSession;
        if (decision.kind !== 'pass') return true;
        if (each.access === 'deny') return false;
        if (each.access === 'bearer' && asked.bearer?.taken === false) return false;
        if (asked.upgrade && asked.requestOrigin !== origin) return false;
        if (decision.withCredential === true) {
          if (decision.withSession) return false;
          return (
            each.access === 'upstream' || (each.access === 'credentials' && asked.credential === 'token')
          );
        }
        if (!decision.withSession) return each.access === 'public';
        if (each.access === 'credentials' && asked.credential !== undefined) return false;
        if (!admitted) return false;
        if (each.access === 'public') return true;
        const strong =
          who.standing.outcome.aal === 'aal2' ||
          (each.acceptAttested && who.standing.outcome.status === 'attested');
        return (
          (each.requireAal !== 'aal2' || strong) &&
          (each.maxAuthAgeSeconds === undefined || who.authTime !== undefined) &&
          each.sources?.includes(who.sourceId) !== false
        );
      }),
      { numRuns: 5000 },
    );
  },
);
