/** What a dependency says of itself: `Store.health()` and `Provider.status()` give what it takes. */
export interface DependencyState {
  readonly up: boolean;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
  /** Why it is down, or what it refuses while it is up. For the operator; never with a secret. */
  readonly cause?: string | undefined;
}

/** Something that Sallyport needs for part of its work. */
export interface Dependency {
  /** `redis`, `idp:<source>`. */
  readonly name: string;
  /** Whether the process is not ready without it (`operations.readiness_requires`). */
  readonly required: boolean;
  /** Never throws, never waits. */
  state(): DependencyState;
}

/** The body of `/readyz`. */
export interface HealthReport {
  readonly status: 'ready' | 'degraded' | 'not_ready';
  readonly shutting_down: boolean;
  readonly dependencies: readonly {
    readonly name: string;
    /** `impaired`: it answers, but refuses part of what is asked of it. */
    readonly state: 'up' | 'impaired' | 'down';
    /** ISO 8601. */
    readonly since: string;
    readonly required: boolean;
    readonly cause?: string;
  }[];
  /** With several worker processes: how many there should be, and how many accept requests. */
  readonly workers?: { readonly wanted: number; readonly accepting: number };
}

/** This process's own health. */
export interface Health {
  report(): HealthReport;
  /** From the moment of SIGTERM: `/readyz` fails before anything else happens, so that no new request is sent here. */
  beginShutdown(): void;
}

const maxCauseCharacters = 200;

/**
 * Ready: everything answers. Degraded: something does not, or not to everything, and what needs it fails, while the rest goes on;
 * still 200, or one lost Redis would take every replica out of service at once. Not ready: a required dependency is down, or it is
 * shutting down.
 *
 * @param dependencies asked anew for each report, since a reload may change the sources
 */
export function createHealth(dependencies: () => readonly Dependency[]): Health {
  let shuttingDown = false;
  return {
    report() {
      const states = dependencies().map((dependency) => ({ dependency, ...dependency.state() }));
      const notReady = shuttingDown || states.some(({ up, dependency }) => !up && dependency.required);
      const degraded = states.some(({ up, cause }) => !up || cause !== undefined);
      return {
        status: notReady ? 'not_ready' : degraded ? 'degraded' : 'ready',
        shutting_down: shuttingDown,
        dependencies: states.map(({ dependency, up, sinceMs, cause }) => ({
          name: dependency.name,
          state: up ? (cause === undefined ? 'up' : 'impaired') : 'down',
          since: new Date(sinceMs).toISOString(),
          required: dependency.required,
          ...(cause === undefined ? {} : { cause: cause.slice(0, maxCauseCharacters) }),
        })),
      };
    },
    beginShutdown() {
      shuttingDown = true;
    },
  };
}
