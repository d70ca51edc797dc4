import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Generation } from '../generation.ts';
import type { AccessEntry } from '../kernel/access-entry.ts';
import { isFault } from '../kernel/error.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { readCookie, sessionCookie } from '../session/cookie.ts';
import type { OpenedSession } from '../session/types.ts';
import type { Gate, GateResult } from './gate.ts';
import { refused } from './gate.ts';
import { Exchange, hasBody } from './http.ts';
import type { ExchangeClient } from './http.ts';
import type { Lane, Lanes } from './lanes.ts';
import { SignOutExchange } from './sign-out-exchange.ts';
import type { PublicServerDeps } from './types.ts';
import { drainUpload } from './upload.ts';
import type { UpstreamErrorKind } from './upstream.ts';
import type { Running, RunningLink } from './running.ts';
import type { UpgradedSockets } from './websocket.ts';
import { UpgradeExchange } from './websocket.ts';

/** A raw request with what the server has noted on its way in. */
export interface NotedRequest extends IncomingMessage {
  originalUrl?: string;
  /** It asked for `100 Continue` and has not got it yet. */
  awaitsContinue?: boolean;
  /** It came as an upgrade: its connection is HTTP no longer, whatever becomes of it. */
  upgrading?: { readonly socket: Socket; readonly head: Buffer };
  /** Where it runs; undefined again once it has ended. */
  lane?: Lane | undefined;
}

/** What all visits share. */
export interface House {
  readonly deps: PublicServerDeps;
  readonly judge: Gate;
  readonly lanes: Lanes;
  readonly upgraded: UpgradedSockets;
  /** Exchanges that run under a session. */
  readonly running: Running;
}

const noHeaders: readonly string[] = [];

/**
 * One request that is not for our own endpoints: judged, answered or passed on, and recorded once at its end. An object and no
 * nest of closures: this is the path of every request.
 */
export class Visit implements ExchangeClient, RunningLink {
  isRunning = false;
  newer: RunningLink | undefined;
  older: RunningLink | undefined;
  readonly raw: NotedRequest;
  readonly res: ServerResponse;
  readonly facts: RequestFacts;
  readonly #house: House;
  readonly #generation: Generation;
  readonly #lane: Lane;
  readonly #startedAt = performance.now();
  #gate: GateResult | undefined;
  #exchange: Exchange | undefined;

  constructor(
    house: House,
    raw: NotedRequest,
    res: ServerResponse,
    facts: RequestFacts,
    generation: Generation,
  ) {
    this.#house = house;
    this.raw = raw;
    this.res = res;
    this.facts = facts;
    this.#generation = generation;
    this.#lane = raw.lane ?? house.lanes.of(generation);
  }

  get session(): OpenedSession | undefined {
    const gate = this.#gate;
    return gate?.withSession === true && gate.withToken !== true ? gate.session : undefined;
  }

  /** Only for whoever asks for it so, as `EventSource` does (HTML section 9.2.2): what the upstream answers is not looked at. */
  get streamsUnder(): OpenedSession | undefined {
    const { accept } = this.raw.headers;
    return accept?.includes('text/event-stream') === true ? this.#passedAs : undefined;
  }

  /** As whom it passed: nobody where everyone does, though a session that opens nothing came along. */
  get #passedAs(): OpenedSession | undefined {
    return this.#gate?.withSession === true ? this.#gate.session : undefined;
  }

  get awaitsContinue(): boolean {
    return this.raw.awaitsContinue === true;
  }

  /** Judges the request and sees to its answer. Never throws, and never leaves the client hanging. */
  begin(): void {
    try {
      const { raw, facts } = this;
      if (facts.method === 'TRACE') {
        this.#proceed(methodNotAllowed);
      } else if (raw.upgrading !== undefined && !facts.upgrade && hasBody(raw)) {
        // Node has stopped parsing at the head: this body can't be read any more.
        this.#proceed(upgradeWithBody);
      } else {
        const gate = this.#house.judge(raw, facts, this.#generation);
        if (gate instanceof Promise) this.#proceedLater(gate);
        else this.#proceed(gate);
      }
    } catch (error) {
      this.#fault(error);
    }
  }

  /** Answers in the upstream's stead. */
  refuse(refusal: Refusal, kind: UpstreamErrorKind | undefined, error: Error): void {
    if (kind !== undefined) {
      this.#house.deps.logWarning('the upstream failed', {
        kind,
        error: error.message,
        request_id: this.facts.id,
      });
    }
    this.answer(refusal);
  }

  /** Writes a refusal and records it. */
  answer(refusal: Refusal): void {
    this.finished(writeRefusal(this.#house.deps, this.raw, this.res, refusal, this.facts, this.#generation));
  }

  /** The session that this runs under has ended. */
  sessionEnded(): void {
    this.#exchange?.sessionEnded();
  }

  finished(status: number): void {
    this.#house.running.delete(this);
    const rule = this.#gate?.rule;
    recordVisit(
      this.#house.deps,
      this.facts,
      this.#startedAt,
      status,
      rule?.name ?? 'none',
      rule?.access ?? 'none',
      this.#gate?.session,
    );
    leaveLane(this.raw);
  }

  #proceedLater(gate: Promise<GateResult>): void {
    gate.then((result) => this.#proceed(result)).catch((error: unknown) => this.#fault(error));
  }

  #proceed(gate: GateResult): void {
    this.#gate = gate;
    if (gate.refusal !== undefined) {
      this.answer(gate.refusal);
      return;
    }
    const { session } = gate;
    if (!gate.withSession || session === undefined) {
      this.#pass(noHeaders);
      return;
    }
    const headers = this.#generation.identityHeaders(
      session,
      this.facts.origin,
      this.#house.deps.clock.nowMs(),
    );
    if (headers instanceof Promise) {
      headers.then((made) => this.#pass(made)).catch((error: unknown) => this.#fault(error));
    } else {
      this.#pass(headers);
    }
  }

  #pass(identityHeaders: readonly string[]): void {
    const { raw, facts } = this;
    const { upgraded } = this.#house;
    const { context, buildHeaders } = this.#lane;
    const headers = buildHeaders({
      rawHeaders: raw.rawHeaders,
      connection: raw.headers.connection,
      facts,
      session: this.session,
      withCredential: this.#gate?.withCredential === true,
      identityHeaders,
    });
    if (raw.upgrading === undefined || !facts.upgrade) {
      if (this.#gate?.rule?.endsSession === true && this.#signOut(headers)) return;
      this.#run(new Exchange(context, this, headers));
      return;
    }
    const { socket, head } = raw.upgrading;
    const session = this.#passedAs;
    this.#run(new UpgradeExchange(context, this, headers, { socket, head, session, registry: upgraded }));
  }

  #run(exchange: Exchange): void {
    if (this.session !== undefined || this.streamsUnder !== undefined) {
      this.#exchange = exchange;
      this.#house.running.add(this);
    }
    exchange.start();
  }

  /** The upstream's own sign-out: its success is ours as well. False when there is no session to end. */
  #signOut(headers: string[]): boolean {
    const { facts, session } = this;
    const { deps, upgraded } = this.#house;
    const { context } = this.#lane;
    const { endSession } = deps;
    const generation = this.#generation;
    const site = sessionCookie(generation.config.session.cookie_name, facts.origin.startsWith('https:'));
    const cookieValue = readCookie(this.raw.headers.cookie, site);
    if (session === undefined || cookieValue === undefined || endSession === undefined) return false;
    new SignOutExchange(context, this, headers, async () => {
      try {
        const signedOut = await endSession({ facts, generation }, session.record, cookieValue);
        upgraded.closeSession(session.record.id);
        return signedOut;
      } catch (error) {
        if (!isFault(error, 'store_unavailable')) deps.logFault(error, facts);
        throw error;
      }
    }).start();
    return true;
  }

  #fault(error: unknown): void {
    this.#house.deps.logFault(error, this.facts);
    this.answer({ status: 500, code: 'internal' });
  }
}

const methodNotAllowed = refused({ status: 405, code: 'method_not_allowed' });
const upgradeWithBody = refused({ status: 400, code: 'upgrade_with_body' });

/** The request has ended: a generation that is retired may go with its last one. Safe to call twice. */
export function leaveLane(raw: NotedRequest): void {
  const { lane } = raw;
  raw.lane = undefined;
  lane?.leave();
}

/** Writes a refusal; the connection goes on where that is safe. @returns the status that the client got */
export function writeRefusal(
  deps: Pick<PublicServerDeps, 'render'>,
  raw: NotedRequest,
  res: ServerResponse,
  refusal: Refusal,
  facts: RequestFacts,
  generation: Generation,
): number {
  if (res.headersSent || res.destroyed) {
    raw.socket.destroy();
    return res.statusCode;
  }
  const rendered = deps.render(refusal, facts, generation);
  const headers: Record<string, string | number> = {
    ...rendered.headers,
    'content-length': Buffer.byteLength(rendered.body),
  };
  const uploading = hasBody(raw) && !raw.complete;
  // A body that was announced and may never come: what follows on this connection could be taken for it.
  if (raw.awaitsContinue === true || raw.upgrading !== undefined) headers['connection'] = 'close';
  res.writeHead(rendered.status, headers);
  res.end(facts.method === 'HEAD' ? undefined : rendered.body);
  if (uploading && raw.awaitsContinue !== true) {
    drainUpload(raw, (complete) => {
      if (!complete) raw.socket.destroySoon();
    });
  }
  return rendered.status;
}

/** Tells log and meter of a request's end. */
export function recordVisit(
  deps: Pick<PublicServerDeps, 'meter' | 'accessLog'>,
  facts: RequestFacts,
  startedAt: number,
  status: number,
  route: string,
  access: string,
  session: OpenedSession | undefined,
): void {
  const durationMs = performance.now() - startedAt;
  deps.meter.httpRequest(route, access, facts.method, status, durationMs / 1000);
  if (deps.accessLog === undefined) return;
  const entry: AccessEntry = {
    facts,
    status,
    durationMs,
    route,
    access,
    user: session === undefined ? undefined : userOf(session),
    source: session?.record.source,
  };
  deps.accessLog(entry);
}

function userOf(session: OpenedSession): NonNullable<AccessEntry['user']> {
  const { identity } = session.record;
  return { id: identity.subject, email: identity.email, name: identity.username };
}
