import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Which packages only their adapters may import: by room, or by file. */
const adapters = {
  fastify: ['proxy', 'endpoints', 'operations/listener.ts', 'assembly'],
  '@fastify/*': ['proxy', 'endpoints', 'signin/bad-token-bound.ts'],
  ioredis: ['session/redis-*.ts'],
  'openid-client': ['provider'],
  jose: ['provider', 'identity/assertion.ts', 'demo'],
  pino: ['operations/log.ts'],
  'prom-client': ['operations/metric*.ts'],
  undici: ['proxy', 'provider', 'commands/check/direct.ts'],
  zod: ['config'],
  yaml: ['config'],
  'oidc-provider': ['demo'],
  'node:cluster': ['workers'],
};

/** Which rooms a room may import. The direction of the house: docs/adr/0001-the-house.md. */
const rooms = {
  kernel: [],
  assurance: ['kernel'],
  policy: ['kernel', 'assurance'],
  config: ['kernel', 'assurance', 'policy'],
  session: ['kernel', 'assurance'],
  provider: ['kernel', 'config'],
  identity: ['kernel', 'config', 'session'],
  audit: ['kernel'],
  operations: ['kernel'],
  signin: ['kernel', 'config', 'assurance', 'policy', 'session', 'provider', 'identity', 'audit'],
  pages: ['kernel'],
  proxy: ['kernel', 'config', 'assurance', 'policy', 'session', 'identity'],
  endpoints: [
    'kernel',
    'config',
    'assurance',
    'policy',
    'session',
    'identity',
    'provider',
    'audit',
    'signin',
    'pages',
    'proxy',
  ],
  reload: ['kernel', 'config', 'assurance', 'session', 'audit'],
  assembly: [
    'kernel',
    'config',
    'assurance',
    'policy',
    'session',
    'identity',
    'provider',
    'audit',
    'operations',
    'signin',
    'proxy',
    'endpoints',
    'reload',
  ],
  workers: ['kernel', 'config', 'operations', 'proxy', 'reload'],
  demo: ['kernel', 'config'],
};

/** Which rooms may import a file that stands in none: what is made of the rooms is not theirs to know. */
const topLevel = {
  'generation.ts': ['proxy', 'signin', 'endpoints', 'assembly'],
  'app.ts': ['workers', 'commands', 'demo'],
  'main.ts': [],
};

/** Rooms that only compute: nothing of the machine or the network, so that tables can test them. */
const pure = ['assurance', 'policy'];

const all = [...Object.keys(rooms), 'commands'];

/** What may not be imported in a room, whose files these are, beside what `ours` says is adapted there. */
function restrict(room, files, ours) {
  const may = rooms[room] ?? all;
  const banned = [
    ...all.filter((other) => other !== room && !may.includes(other)).map((other) => `${other}/*`),
    ...Object.keys(topLevel).filter((file) => !topLevel[file].includes(room)),
  ];
  const patterns = [
    ...banned.map((other) => ({
      group: [`../${other}`, `../../${other}`],
      message: `${room}/ may not import ${other} (docs/adr/0001-the-house.md).`,
    })),
    ...Object.keys(adapters)
      .filter((name) => !adapters[name].some((where) => where === room || where === ours))
      .map((name) => ({ group: [name], message: 'it is adapted elsewhere.' })),
    ...(pure.includes(room) ? [{ group: ['node:*'], message: `${room}/ only computes.` }] : []),
  ];
  return { files, rules: { 'no-restricted-imports': ['error', { patterns }] } };
}

const adapterFiles = new Set(
  Object.values(adapters)
    .flat()
    .filter((where) => where.endsWith('.ts')),
);
const roomRules = [
  ...all.map((room) => restrict(room, [`src/${room}/**/*.ts`])),
  // The later one holds.
  ...[...adapterFiles].map((file) => restrict(file.split('/')[0], [`src/${file}`], file)),
];

export default tseslint.config(
  { ignores: ['dist', '.tap', 'node_modules', 'test/fixtures'] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: { allowDefaultProject: ['eslint.config.js'] } } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/dot-notation': 'off',
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'Take the Randomness port.' },
        { object: 'Date', property: 'now', message: 'Take the Clock port.' },
      ],
    },
  },
  ...roomRules,
  { files: ['src/kernel/clock.ts', 'test/**'], rules: { 'no-restricted-properties': 'off' } },
  {
    files: ['test/**'],
    rules: {
      '@typescript-eslint/no-floating-promises': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/require-await': 'off',
    },
  },
  { files: ['eslint.config.js'], ...tseslint.configs.disableTypeChecked },
);
