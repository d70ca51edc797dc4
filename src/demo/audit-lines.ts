import { Writable } from 'node:stream';

/** What each action means, in two words, before the record itself. */
const headlines: Readonly<Record<string, string>> = {
  'tenant.auth_policy.oidc_mfa.rejected': 'REFUSED: MFA was not asserted',
  'tenant.auth_policy.oidc_mfa.would_reject': 'admitted, but MFA was not asserted',
  'signin.succeeded': 'signed in',
  'signin.failed': 'sign-in failed',
  'session.ended': 'session ended',
  'canary.completed': 'canary: a sign-in for show, no session',
};

/** Told once by the headline, or of no use on a terminal. */
const left = new Set([
  '@timestamp',
  'log.level',
  'message',
  'log_type',
  'request_id',
  'trace_id',
  'user',
  'client.ip',
]);

/** One audit record (a JSON line) as a few lines for people; a line that is no JSON object comes back as it is. */
export function describeAuditLine(line: string): string {
  const record = parseObject(line);
  if (record === undefined) return `${printable(line)}\n`;
  const action = textOf(record['action']);
  const time = textOf(record['@timestamp']).slice(11, 19);
  const fields = Object.entries(record).filter(([key]) => !left.has(key) && key !== 'action');
  const lines = [
    `${time} audit  ${headlines[action] ?? action}${describeUser(record['user'])}`,
    ...[['action', action] as const, ...fields].map(
      ([key, value]) =>
        `                ${key.padEnd(11)} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ),
  ];
  return `${lines.map(printable).join('\n')}\n\n`;
}

/** A stream that takes JSON lines and writes what {@link describeAuditLine} makes of them to `out`. */
export function createAuditPrinter(out: Writable): Writable {
  let rest = '';
  return new Writable({
    decodeStrings: false,
    write(chunk: string | Buffer, _encoding, done) {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') out.write(describeAuditLine(line));
      done();
    },
  });
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function describeUser(user: unknown): string {
  if (typeof user !== 'object' || user === null) return '';
  const { name, email, id } = user as Readonly<Record<string, unknown>>;
  const known = [name, email ?? id].filter((each) => typeof each === 'string');
  return known.length === 0 ? '' : ` – ${known.join(', ')}`;
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Text from outside must not steer a terminal: control characters go. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- exactly these are meant
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '�');
}
