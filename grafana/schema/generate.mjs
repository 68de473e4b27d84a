// Writes grafana.schema.json: a JSON schema for each type that types.ts exports, by its name.

import { readFileSync, writeFileSync } from 'node:fs';
import { createGenerator } from 'ts-json-schema-generator';

const names = [...readFileSync('types.ts', 'utf8').matchAll(/^export type (\w+)/gm)].map((m) => m[1]);
const generator = createGenerator({
  path: 'types.ts',
  tsconfig: 'tsconfig.json',
  type: '*',
  expose: 'none',
  jsDoc: 'none',
  skipTypeCheck: true,
});
const schemas = Object.fromEntries(names.map((name) => [name, generator.createSchema(name)]));
writeFileSync('grafana.schema.json', JSON.stringify(schemas, null, 1) + '\n');
