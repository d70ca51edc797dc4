import { parseArgs } from 'node:util';
import { formatJsonSchema } from '../config/json-schema.ts';
import type { Command } from './command.ts';

/** `sallyport schema`: prints the JSON Schema of the configuration file. */
export const schemaCommand: Command = {
  name: 'schema',
  summary: 'print the JSON Schema of the configuration file',
  usage: `Usage: sallyport schema

Prints the JSON Schema (draft 2020-12) of the configuration file, for editors:

  sallyport schema > sallyport.schema.json

and on the first line of the configuration file:

  # yaml-language-server: $schema=sallyport.schema.json`,

  run(args, io) {
    parseArgs({ args: [...args], options: {}, strict: true });
    io.stdout.write(formatJsonSchema());
    return Promise.resolve(0);
  },
};
