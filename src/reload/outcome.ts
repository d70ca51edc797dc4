import type { LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { Author } from './mfa-trail.ts';

/** What made a process read its configuration again. */
export interface ReloadCause {
  readonly trigger: 'signal' | 'file' | 'command';
  /** `sallyport reload --actor`. */
  readonly actor?: string | undefined;
  /** Who owns the file. */
  readonly fileOwner?: string | undefined;
}

/** What became of it. */
export type ReloadOutcome =
  | {
      readonly result: 'applied';
      /** Keys whose new values wait for a restart. */
      readonly restartRequired: readonly string[];
      readonly warnings: readonly string[];
    }
  | {
      readonly result: 'refused';
      /** Every fault, as `serve` would have reported it at its start. */
      readonly report: string;
    };

/** What a configuration can be put in force in: one process, or several behind one. */
export interface Reloadable {
  /**
   * Puts another configuration in force, without dropping a request or a session; one that can't be is refused, and changes
   * nothing. Several are applied one after the other.
   */
  reload(loaded: LoadedConfig, by: ReloadCause): Promise<ReloadOutcome>;
  /** Opens `audit.file` anew: what writes the old one is renamed away by log rotation. */
  reopenFiles(): Promise<void>;
}

/** Who changed the configuration: who says so with the command, else whom the file names, else who owns the file. */
export function authorOf(config: Config, by: Pick<ReloadCause, 'actor' | 'fileOwner'>): Author {
  const { actor, ref } = config.change;
  if (by.actor !== undefined) return { actor: by.actor, actorFrom: 'command', ref };
  if (actor !== undefined) return { actor, actorFrom: 'change', ref };
  if (by.fileOwner !== undefined) return { actor: by.fileOwner, actorFrom: 'file_owner', ref };
  return { actor: 'unknown', actorFrom: 'unknown', ref };
}
