import { parseArgs } from 'node:util';
import type { Config } from '../config/schema.ts';
import { headerRules } from '../identity/presets.ts';
import type { Command, CommandIo } from './command.ts';
import { configurationPath, fail, loadOrReport, noConfiguration } from './configuration.ts';
import { checkAudit } from './check/audit.ts';
import { checkDirect } from './check/direct.ts';
import { checkDurable } from './check/durable.ts';
import { ok, warn, type Area } from './check/finding.ts';
import { checkRedis } from './check/redis.ts';
import { registrations, routeTable } from './check/registration.ts';
import { checkRoutes, freshRoutesOf } from './check/routes.ts';
import { checkSessionSeals } from './check/session-seals.ts';
import { checkSource } from './check/source.ts';
import { checkUpstream } from './check/upstream.ts';

/** `sallyport check`: everything that a start would need, tried for real. */
export const checkCommand: Command = {
  name: 'check',
  summary: 'try everything that a start would need',
  usage: `Usage: sallyport check [--config FILE] [--json]
       sallyport check --direct URL [--as NAME] [--config FILE] [--json]

Tries for real what serve will need: the file and the secrets it names, each IdP's discovery, keys and client
credentials, the MFA policy against what the IdP announces, Redis and its eviction policy, the upstream, and
audit.file.
Prints what to register at each IdP and the expanded route table. Changes nothing and starts nothing.

With --direct it only sends a spoofed identity header straight to the upstream, past Sallyport, and fails if it is believed: run it
from wherever somebody could try. An upstream that believes it and registers users by itself then has an account to be deleted.

  --config FILE   the configuration; else SALLYPORT_CONFIG. Needless with --direct: with it, the configured headers are tried too
  --json          print one JSON object
  --direct URL    where the upstream might be reached past Sallyport: http://host:port
  --as NAME       with --direct: an account that the upstream has, where it does not register users by itself

Exit status: 0 nothing failed (there may be warnings), 1 something failed, 2 usage or configuration.`,

  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        json: { type: 'boolean', default: false },
        direct: { type: 'string' },
        as: { type: 'string' },
      },
    });
    const path = configurationPath(values.config, io);
    if (values.direct !== undefined) return runDirect({ ...values, direct: values.direct, path }, io);
    if (values.as !== undefined) {
      return fail(io, 'check', '--as goes with --direct');
    }
    if (path === undefined) return fail(io, 'check', noConfiguration);
    const loaded = await loadOrReport(path, io);
    if (loaded === undefined) return 2;
    const report = await inspect(loaded.config, path, loaded.warnings);
    io.stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : formatReport(report));
    return report.failed === 0 ? 0 : 1;
  },
};

interface DirectArguments {
  readonly direct: string;
  readonly as?: string | undefined;
  readonly path: string | undefined;
  readonly json: boolean;
}

/** `check --direct`: needs no configuration, as it is run where somebody past Sallyport would be. */
async function runDirect(
  { direct, as: account, path, json }: DirectArguments,
  io: CommandIo,
): Promise<number> {
  const url = URL.canParse(direct) ? new URL(direct) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    return fail(io, 'check', `--direct wants http://host:port, not ${direct}`);
  }
  const loaded = path === undefined ? undefined : await loadOrReport(path, io);
  if (path !== undefined && loaded === undefined) return 2;
  const headers = loaded === undefined ? [] : headerRules(loaded.config.upstream);
  const areas = [await checkDirect({ url, headers, account })];
  const { failed, warned } = countFindings(areas);
  io.stdout.write(
    json
      ? `${JSON.stringify({ failed, warned, areas }, undefined, 2)}\n`
      : `${formatAreas(areas).join('\n')}\n\n${failed} failed, ${warned} warned\n`,
  );
  return failed === 0 ? 0 : 1;
}

interface Report {
  readonly failed: number;
  readonly warned: number;
  readonly areas: readonly Area[];
  readonly register: ReturnType<typeof registrations>;
  readonly routes: ReturnType<typeof routeTable>;
}

async function inspect(config: Config, path: string, warnings: readonly string[]): Promise<Report> {
  const register = registrations(config);
  const publicHost = new URL(config.server.public_url[0] ?? '').host;
  const tried = await Promise.all([
    ...config.sources.map((source, at) =>
      checkSource(source, register[at]?.redirect_uris[0] ?? '', freshRoutesOf(config, source.id)),
    ),
    checkRedis(config.session),
    checkDurable(config),
    checkSessionSeals(config),
    checkUpstream(config.upstream, publicHost),
    checkAudit(config),
  ]);
  const areas = [
    {
      name: 'configuration',
      findings: [ok(`${path} is valid, and every file that it names can be read`), ...fileWarnings(warnings)],
    },
    ...tried,
    checkRoutes(config),
  ].filter((area) => area !== undefined);
  return {
    ...countFindings(areas),
    areas,
    register,
    routes: routeTable(config),
  };
}

function countFindings(areas: readonly Area[]): { readonly failed: number; readonly warned: number } {
  const findings = areas.flatMap((area) => area.findings);
  return {
    failed: findings.filter(({ status }) => status === 'fail').length,
    warned: findings.filter(({ status }) => status === 'warn').length,
  };
}

/** The policies' warnings stand with their sources. */
function fileWarnings(warnings: readonly string[]) {
  return warnings
    .filter((warning) => !/\bmfa\b/.test(warning))
    .map((warning) => warn(warning, 'see docs/configuration.md for this key'));
}

function formatAreas(areas: readonly Area[]): string[] {
  return areas.flatMap(({ name, findings }) => [
    name,
    ...findings.flatMap(({ status, message, hint }) => [
      `  ${status.padEnd(4)}  ${message}`,
      ...(hint === undefined ? [] : [`        → ${hint}`]),
    ]),
  ]);
}

function formatReport({ areas, register, routes, failed, warned }: Report): string {
  const lines = formatAreas(areas);
  lines.push('', 'register at the IdP');
  for (const { source, redirect_uris, post_logout_redirect_uris, ...logout } of register) {
    for (const uri of redirect_uris) lines.push(`  ${source}: redirect URI ${uri}`);
    for (const uri of post_logout_redirect_uris) lines.push(`  ${source}: post-logout redirect URI ${uri}`);
    lines.push(`  ${source}: back-channel logout URI ${logout.backchannel_logout_uri}`);
    lines.push(`  ${source}: front-channel logout URI ${logout.frontchannel_logout_uri}`);
  }
  lines.push('', 'routes, first match wins');
  const width = (of: (route: (typeof routes)[number]) => string) =>
    Math.max(...routes.map((route) => of(route).length));
  const [names, methods, paths] = [
    width(({ name }) => name),
    width((r) => r.methods),
    width(({ path }) => path),
  ];
  for (const route of routes) {
    const requirements = route.requirements === '' ? '' : ` (${route.requirements})`;
    lines.push(
      `  ${route.name.padEnd(names)}  ${route.methods.padEnd(methods)}  ${route.path.padEnd(paths)}  ${route.access}${requirements}`,
    );
  }
  lines.push('', `${failed} failed, ${warned} warned`);
  return `${lines.join('\n')}\n`;
}
