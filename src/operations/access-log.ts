import type { AccessEntry } from '../kernel/access-entry.ts';
import type { Clock } from '../kernel/clock.ts';
import type { LineWriter } from './line-writer.ts';

const maxPathCharacters = 1024;
const maxMethodCharacters = 32;

/**
 * Writes access lines in ECS's names, built by concatenation: on the path of every request a line costs a microsecond or two.
 * A path is shown without its query string, which may hold a code or somebody's search.
 *
 * @param pid named in every line where several processes write to one log
 */
export function createAccessLog(
  writer: Pick<LineWriter, 'write'>,
  clock: Clock,
  pid?: number,
): (line: AccessEntry) => void {
  const end = pid === undefined ? '}\n' : `,"process.pid":${pid}}\n`;
  let stampMs = -1;
  let stamp = '';
  return ({ facts, status, durationMs, route, access, user, source }) => {
    const nowMs = clock.nowMs();
    if (nowMs !== stampMs) {
      stampMs = nowMs;
      stamp = new Date(nowMs).toISOString();
    }
    const { id, clientIp, traceparent } = facts;
    const method = facts.method.slice(0, maxMethodCharacters);
    const path = pathOf(facts.rawTarget);
    const { id: userId = '', email = '', name = '' } = user ?? {};
    // All of them looked at once: what needs escaping is rare, and ten looks cost several times one.
    const nothingToEscape = plain.test(
      `${id}${clientIp}${method}${path}${route}${access}${source ?? ''}${userId}${email}${name}`,
    );
    const quoted = nothingToEscape ? enclose : quote;
    writer.write(
      `{"@timestamp":"${stamp}","log.level":"info","message":"request","log_type":"access","request_id":${quoted(id)}` +
        (traceparent === undefined ? '' : `,"trace_id":${quote(traceparent.slice(3, 35))}`) +
        `,"client.ip":${quoted(clientIp)},"http.request.method":${quoted(method)},"url.path":${quoted(path)}` +
        `,"http.response.status_code":${status},"event.duration":${Math.round(durationMs * 1e6)}` +
        `,"route":${quoted(route)},"access":${quoted(access)}` +
        (source === undefined ? '' : `,"auth_source":${quoted(source)}`) +
        (user === undefined ? '' : userField(user, quoted)) +
        end,
    );
  };
}

/** The target up to its query; nothing of a target that is no path (absolute form may hold credentials). */
function pathOf(rawTarget: string): string {
  if (!rawTarget.startsWith('/')) return rawTarget === '*' ? '*' : '[not a path]';
  const end = rawTarget.search(/[?#]/);
  const path = end === -1 ? rawTarget : rawTarget.slice(0, end);
  return path.length > maxPathCharacters ? `${path.slice(0, maxPathCharacters)}…` : path;
}

function userField(
  { id, email, name }: NonNullable<AccessEntry['user']>,
  quoted: (text: string) => string,
): string {
  return `,"user":{"id":${quoted(id)}${email === undefined ? '' : `,"email":${quoted(email)}`},"name":${quoted(name)}}`;
}

/** What stands for itself in a JSON string. */
const plain = /^[\w\-./:@ ]*$/;

/** As a JSON string: whatever the value, it stays within its quotes and on its line. */
function quote(text: string): string {
  return plain.test(text) ? enclose(text) : JSON.stringify(text);
}

/** For text that is known to be plain. */
function enclose(text: string): string {
  return `"${text}"`;
}
