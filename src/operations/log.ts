import { createRequire } from 'node:module';
import { pino, type Logger } from 'pino';
import type { AccessEntry } from '../kernel/access-entry.ts';
import type { Clock } from '../kernel/clock.ts';
import { SallyportError } from '../kernel/error.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { createAccessLog } from './access-log.ts';
import type { LineWriter } from './line-writer.ts';
import { describeError, redactFields, redactText } from './redaction.ts';

/** The key `log` of the configuration. */
export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly format: 'json' | 'pretty';
  readonly access: boolean;
}

/** The log of one process: `log_type` `app` and `access`. (`audit` is audit/writer.ts, on the same line writer.) */
export interface Log {
  readonly logger: Logger;
  /** Undefined where `log.access` is false or the level is above `info`. */
  readonly access: ((entry: AccessEntry) => void) | undefined;
  /** A fault that was answered with 5xx: with its stack, never shown to anyone else. */
  fault(error: unknown, facts: RequestFacts | undefined): void;
  warning(message: string, fields: Readonly<Record<string, unknown>>): void;
}

/**
 * Makes the log: JSON lines in ECS's names (SPEC section 9), or the same for people's eyes with `format: pretty`. Secrets are
 * taken out twice: by the field's name, and by the look of a text.
 *
 * @param pid named in every line where several processes write to one log
 * @throws config_invalid for `format: pretty` where the optional package pino-pretty is not installed
 */
export function createLog(
  config: LogConfig,
  writer: Pick<LineWriter, 'write'>,
  clock: Clock,
  pid?: number,
): Log {
  const out = config.format === 'pretty' ? prettyWriter(writer) : writer;
  const logger = pino(
    {
      level: config.level,
      base: { log_type: 'app', ...(pid !== undefined && { 'process.pid': pid }) },
      messageKey: 'message',
      errorKey: 'error',
      // Errors are described by redactFields already; pino's own serializer would take the result for an empty one.
      serializers: { error: asItIs, err: asItIs },
      timestamp: () => `,"@timestamp":"${new Date(clock.nowMs()).toISOString()}"`,
      formatters: {
        level: (label) => ({ 'log.level': label }),
        log: (fields) => redactFields(fields) as Record<string, unknown>,
      },
    },
    { write: (line: string) => out.write(redactText(line)) },
  );
  const wantsAccess = config.access && logger.isLevelEnabled('info');
  return {
    logger,
    access: wantsAccess ? createAccessLog(out, clock, pid) : undefined,
    fault(error, facts) {
      // A dependency that is down is the operator's news, not our defect: told without a stack.
      const expected = error instanceof SallyportError && error.statusCode === 503;
      const { stack_trace, ...brief } = describeError(error);
      logger[expected ? 'warn' : 'error'](
        { error: expected ? brief : { ...brief, stack_trace }, ...requestFields(facts) },
        expected ? 'a dependency did not answer' : 'unexpected fault',
      );
    },
    warning(message, fields) {
      logger.warn(fields, message);
    },
  };
}

const asItIs = (value: unknown): unknown => value;

function requestFields(facts: RequestFacts | undefined): Record<string, unknown> {
  if (facts === undefined) return {};
  return { request_id: facts.id, trace_id: facts.traceparent?.slice(3, 35), 'client.ip': facts.clientIp };
}

interface PrettyModule {
  prettyFactory(options: Record<string, unknown>): (line: string) => string;
}

function prettyWriter(writer: Pick<LineWriter, 'write'>): Pick<LineWriter, 'write'> {
  let prettify: (line: string) => string;
  try {
    const module = createRequire(import.meta.url)('pino-pretty') as PrettyModule;
    prettify = module.prettyFactory({
      colorize: false,
      messageKey: 'message',
      timestampKey: '@timestamp',
      levelKey: 'log\\.level',
      ignore: 'log_type',
    });
  } catch (cause) {
    throw new SallyportError('config_invalid', 'log.format: pretty needs the package pino-pretty; use json', {
      cause,
    });
  }
  return { write: (line, onLost) => writer.write(prettify(line), onLost) };
}
