import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Which packages only their adapters may import, and from where. */
const adapters = {
  fastify: ['src/proxy/**', 'src/endpoints/**', 'src/operations/**', 'src/app.ts', 'src/demo/**'],
  '@fastify/*': ['src/proxy/**', 'src/endpoints/**', 'src/app.ts'],
  ioredis: ['src/session/redis-*.ts'],
  'openid-client': ['src/provider/**'],
  jose: ['src/provider/**', 'src/identity/assertion*.ts', 'src/demo/**', 'src/commands/explain.ts'],
  'prom-client': ['src/operations/**'],
  undici: ['src/proxy/**', 'src/provider/**', 'src/commands/check*.ts'],
  zod: ['src/config/**'],
  yaml: ['src/config/**'],
  'oidc-provider': ['src/demo/**'],
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
    'operations',
    'proxy',
  ],
  reload: ['kernel', 'config', 'assurance', 'session', 'audit'],
  workers: ['kernel', 'config', 'operations', 'proxy', 'reload'],
};
const all = [...Object.keys(rooms), 'commands', 'demo'];

const roomRules = Object.entries(rooms).map(([room, may]) => {
  const banned = all.filter((other) => other !== room && !may.includes(other));
  return {
    files: [`src/${room}/**/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            ...banned.map((other) => ({
              group: [`../${other}/*`, `../../${other}/*`],
              message: `${room}/ may not import ${other}/ (docs/adr/0001-the-house.md).`,
            })),
            ...Object.entries(adapters)
              .filter(([, where]) => !where.some((glob) => glob.startsWith(`src/${room}/`)))
              .map(([name]) => ({ group: [name], message: `${name} is adapted elsewhere.` })),
          ],
        },
      ],
    },
  };
});

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
