/** One user of a file, with the line that it begins in. */
export interface Row {
  readonly line: number;
  /** By column; no column is the empty text. */
  readonly fields: Readonly<Record<string, string>>;
}

/** What is wrong with a line. */
export interface LineFault {
  readonly line: number;
  readonly message: string;
}

/** Everything in a file, and everything that is wrong with its form. */
export interface Rows {
  readonly rows: readonly Row[];
  readonly faults: readonly LineFault[];
}

/**
 * Reads a file of users: CSV with a header line (RFC 4180), or one JSON object a line. Which of them is told by its first
 * character. Columns that are not known are faults: a misspelt `email` would be an address that nobody binds.
 */
export function parseRows(text: string, columns: readonly string[]): Rows {
  const body = text.replace(/^\ufeff/, '');
  return body.trimStart().startsWith('{') ? parseJsonLines(body, columns) : parseCsv(body, columns);
}

function parseJsonLines(text: string, columns: readonly string[]): Rows {
  const rows: Row[] = [];
  const faults: LineFault[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const at = index + 1;
    const value = parseObject(line);
    if (value === undefined) {
      faults.push({ line: at, message: 'expected one JSON object' });
      continue;
    }
    const fields: Record<string, string> = {};
    const wrong: string[] = [];
    for (const [name, field] of Object.entries(value)) {
      if (!columns.includes(name)) wrong.push(`${name} is none of ${columns.join(', ')}`);
      else if (typeof field !== 'string') wrong.push(`${name} is no text`);
      else if (field.trim() !== '') fields[name] = field.trim();
    }
    if (wrong.length > 0) faults.push({ line: at, message: wrong.join('; ') });
    else rows.push({ line: at, fields });
  }
  return { rows, faults };
}

function parseObject(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function parseCsv(text: string, columns: readonly string[]): Rows {
  const { records, unclosedLine } = splitCsv(text);
  if (unclosedLine !== undefined)
    return { rows: [], faults: [{ line: unclosedLine, message: 'a quotation mark is not closed' }] };
  const [header, ...others] = records;
  if (header === undefined)
    return { rows: [], faults: [{ line: 1, message: `expected a header line with ${columns.join(', ')}` }] };
  const names = header.cells.map((cell) => cell.trim().toLowerCase());
  const unknown = names.filter((name, at) => !columns.includes(name) || names.indexOf(name) !== at);
  if (unknown.length > 0) {
    const message = `the header line names ${unknown.map((name) => JSON.stringify(name)).join(', ')}; expected some of ${columns.join(', ')}, each once`;
    return { rows: [], faults: [{ line: header.line, message }] };
  }
  const rows: Row[] = [];
  const faults: LineFault[] = [];
  for (const { line, cells } of others) {
    if (cells.length !== names.length) {
      faults.push({ line, message: `expected ${names.length} fields, found ${cells.length}` });
      continue;
    }
    const filled = cells
      .map((cell, at) => [names[at] ?? '', cell.trim()] as const)
      .filter(([, cell]) => cell !== '');
    rows.push({ line, fields: Object.fromEntries(filled) });
  }
  return { rows, faults };
}

interface CsvRecord {
  readonly line: number;
  readonly cells: readonly string[];
}

/** Records of cells; blank lines are left out. */
function splitCsv(text: string): { records: readonly CsvRecord[]; unclosedLine: number | undefined } {
  const records: CsvRecord[] = [];
  const token = /"((?:[^"]|"")*)"|(,)|(\r?\n)|([^",\r\n]+)|(.)/gsy;
  let cells: string[] = [''];
  let line = 1;
  let startedAt = 1;
  const append = (more: string): void => void cells.push(`${cells.pop() ?? ''}${more}`);
  const end = (): void => {
    if (cells.length > 1 || cells[0]?.trim() !== '') records.push({ line: startedAt, cells });
    cells = [''];
  };
  for (const [whole, quoted, comma, lineEnd, plain] of text.matchAll(token)) {
    if (quoted !== undefined) append(quoted.replaceAll('""', '"'));
    else if (comma !== undefined) cells.push('');
    else if (plain !== undefined) append(plain);
    else if (lineEnd === undefined && whole === '"') return { records, unclosedLine: line };
    if (lineEnd !== undefined) end();
    line += whole.split('\n').length - 1;
    if (lineEnd !== undefined) startedAt = line;
  }
  end();
  return { records, unclosedLine: undefined };
}
