import { Counter, type Registry } from 'prom-client';

/** A counter for the path of every request: one look-up by its label values, and an addition. */
export interface Cells {
  /** Label values in the order of the names, at most four. */
  inc(first: string, second?: string, third?: string, fourth?: string): void;
  /** Makes the series stand at 0. */
  zero(first: string, second?: string, third?: string, fourth?: string): void;
}

interface Cell {
  readonly labels: Readonly<Record<string, string>>;
  pending: number;
}

/**
 * A counter that keeps its numbers aside and hands them to prom-client when somebody scrapes: prom-client's own `inc` with
 * four labels costs 0.2 µs and builds strings each time, this a hundredth of a request less.
 */
export function createCells(
  registry: Registry,
  { name, help, labelNames }: { name: string; help: string; labelNames: readonly string[] },
): Cells {
  const cells = new Map<string, Cell>();
  const counter = new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      for (const cell of cells.values()) {
        if (cell.pending === 0) continue;
        counter.inc(cell.labels, cell.pending);
        cell.pending = 0;
      }
    },
  });

  function cellOf(first: string, second: string, third: string, fourth: string): Cell {
    // No label value holds a line feed: they are names, methods and numbers. (No rest array: this runs for every request.)
    const key = `${first}\n${second}\n${third}\n${fourth}`;
    const known = cells.get(key);
    if (known !== undefined) return known;
    const values = [first, second, third, fourth];
    const cell: Cell = {
      labels: Object.fromEntries(labelNames.map((label, index) => [label, values[index] ?? ''])),
      pending: 0,
    };
    cells.set(key, cell);
    return cell;
  }

  return {
    inc(first, second = '', third = '', fourth = '') {
      cellOf(first, second, third, fourth).pending += 1;
    },
    zero(first, second = '', third = '', fourth = '') {
      counter.inc(cellOf(first, second, third, fourth).labels, 0);
    },
  };
}

/** Lets at most `max` different values through as a label; further ones are `other`. (A scrape must not grow without bound.) */
export function createBoundedLabel(max: number): (value: string) => string {
  const seen = new Set<string>();
  return (value) => {
    if (seen.has(value)) return value;
    if (seen.size >= max) return 'other';
    seen.add(value);
    return value;
  };
}
