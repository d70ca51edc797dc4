import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Config } from '../config/schema.ts';

/**
 * How many processes `server.workers` asks for. `auto`: one for each core that this process may use, and no more than the CPU limit of
 * its container pays for; Node learnt to look at that itself only after version 20.
 */
export function countWorkers(
  workers: Config['server']['workers'],
  { cores, cpuMax }: { readonly cores: number; readonly cpuMax: string | undefined } = look(),
): number {
  if (workers !== 'auto') return workers;
  return Math.max(1, Math.min(cores, limitOf(cpuMax) ?? cores));
}

/** `cpu.max` of cgroup v2: quota and period, or `max` and period. Rounded up: half a core more is used than left. */
function limitOf(cpuMax: string | undefined): number | undefined {
  const [quota, period] = (cpuMax ?? '').trim().split(' ').map(Number);
  if (quota === undefined || period === undefined || !(quota > 0) || !(period > 0)) return undefined;
  return Math.ceil(quota / period);
}

function look(): { cores: number; cpuMax: string | undefined } {
  const cores = availableParallelism();
  try {
    return { cores, cpuMax: readFileSync('/sys/fs/cgroup/cpu.max', 'utf8') };
  } catch {
    return { cores, cpuMax: undefined };
  }
}
