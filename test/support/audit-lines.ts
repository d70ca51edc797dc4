import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { auditJsonSchema } from '../../src/audit/schema.ts';

const ajv = new Ajv2020({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true });
formats.default(ajv);
const validate = ajv.compile(auditJsonSchema());

/** What is wrong with a line of the audit trail by the schema that ships; empty if nothing is. */
export function auditFaults(line: unknown): string {
  return validate(line) ? '' : `${JSON.stringify(line)}: ${JSON.stringify(validate.errors)}`;
}

/** @throws Error that names each line that the schema does not know */
export function assertAuditLines(lines: readonly unknown[]): void {
  const faults = lines.map(auditFaults).filter((fault) => fault !== '');
  if (faults.length > 0) throw new Error(`audit lines that do not validate:\n${faults.join('\n')}`);
}
