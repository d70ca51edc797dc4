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
    const method = quote(facts.method.slice(0, maxMethodCharacters));
    const path = quote(pathOf(facts.rawTarget));
    writer.write(
      `{"@timestamp":"${stamp}","log.level":"info","message":"request","log_type":"access","request_id":${quote(facts.id)}` +
        (facts.traceparent === undefined ? '' : `,"trace_id":${quote(facts.traceparent.slice(3, 35))}`) +
        `,"client.ip":${quote(facts.clientIp)},"http.request.method":${method},"url.path":${path}` +
        `,"http.response.status_code":${status},"event.duration":${Math.round(durationMs * 1e6)}` +
        `,"route":${quote(route)},"access":${quote(access)}` +
        (source === undefined ? '' : `,"auth_source":${quote(source)}`) +
        (user === undefined ? '' : userField(user)) +
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

function userField({ id, email, name }: NonNullable<AccessEntry['user']>): string {
  return `,"user":{"id":${quote(id)}${email === undefined ? '' : `,"email":${quote(email)}`},"name":${quote(name)}}`;
}

const plain = /^[\w\-./:@ ]*$/;

/** As a JSON string: whatever the value, it stays within its quotes and on its line. */
function quote(text: string): string {
  return plain.test(text) ? `"${text}"` : JSON.stringify(text);
}
