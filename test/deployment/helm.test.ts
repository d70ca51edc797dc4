import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  faultsAgainst,
  forgeSettings,
  readDocuments,
  readManifests,
  readShipped,
  type Container,
} from './manifests.ts';

type Tree = { readonly [key: string]: Tree | null };
type Json = Record<string, unknown>;

const { keys: chart } = JSON.parse(
  readFileSync(new URL('../fixtures/kubernetes/forgejo-helm-keys.json', import.meta.url), 'utf8'),
) as { keys: Tree };

const values = readDocuments(readShipped('helm/forgejo-values.yaml'))[0] as {
  gitea: {
    config: Readonly<Record<string, Json>> & { server: Json };
    livenessProbe: Json;
    readinessProbe: Json;
  };
  extraContainers: Container[];
  extraVolumes: (Json & { name: string })[];
  extraContainerVolumeMounts: Json[];
};

/** Below these the chart passes on what it is given. */
const open =
  /^(?:gitea\.config|gitea\.podAnnotations|gitea\.(?:liveness|readiness|startup)Probe|ingress\.(?:hosts|tls|annotations))(?:\.|$)/;

function unknownKeys(value: unknown, known: Tree | null, path = ''): readonly string[] {
  if (
    known === null ||
    typeof value !== 'object' ||
    value === null ||
    Array.isArray(value) ||
    open.test(path)
  )
    return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const below = path === '' ? key : `${path}.${key}`;
    return Object.hasOwn(known, key) ? unknownKeys(inner, known[key] ?? null, below) : [below];
  });
}

t.test('every key is one that the chart knows', async (t) => {
  t.same(unknownKeys(values, chart), []);
  t.same(unknownKeys({ extraContainer: [], gitea: { probes: {} } }, chart), [
    'extraContainer',
    'gitea.probes',
  ]);
});

t.test("what goes into the pod is valid by Kubernetes' own schema", async (t) => {
  const core = 'io.k8s.api.core.v1';
  for (const container of values.extraContainers) t.same(faultsAgainst(`${core}.Container`, container), []);
  for (const volume of values.extraVolumes) t.same(faultsAgainst(`${core}.Volume`, volume), []);
  for (const mount of values.extraContainerVolumeMounts)
    t.same(faultsAgainst(`${core}.VolumeMount`, mount), []);
  for (const probe of [values.gitea.livenessProbe, values.gitea.readinessProbe]) {
    t.same(faultsAgainst(`${core}.Probe`, probe), []);
  }
});

t.test(
  'the port that the chart names http is the one on which Sallyport listens, and the forge has none',
  async (t) => {
    const { server } = values.gitea.config;
    t.equal(server['PROTOCOL'], 'http+unix');
    const configMap = readManifests().find(({ manifest }) => manifest['kind'] === 'ConfigMap')?.manifest as {
      data: Json;
    };
    const config = String(configMap.data['sallyport.yaml']);
    t.match(config, `listen: 0.0.0.0:${String(server['HTTP_PORT'])}\n`);
    t.match(config, `url: unix:${String(server['HTTP_ADDR'])}\n`);
    const [sidecar] = values.extraContainers;
    t.notOk(
      sidecar?.ports?.some(({ name }) => name === 'http'),
      'a second port of that name would be ambiguous',
    );
    for (const probe of [values.gitea.livenessProbe, values.gitea.readinessProbe]) {
      t.ok(probe['exec'], 'the forge is asked by its socket');
      t.notOk(probe['tcpSocket'] ?? probe['httpGet'], 'the default of the chart would ask Sallyport instead');
    }
  },
);

t.test(
  'the forge lets nobody in by another way, nor anybody take a name that another will have',
  async (t) => {
    const { config } = values.gitea;
    const settings = forgeSettings();
    t.match(settings['admin.USER_DISABLED_FEATURES'], 'change_username');
    for (const [key, value] of Object.entries(settings)) {
      const [section = '', name = ''] = key.split('.');
      t.equal(String(config[section]?.[name]), value, key);
    }
  },
);

t.test('the sidecar is that of the manifests', async (t) => {
  const deployment = readManifests().find(({ manifest }) => manifest['kind'] === 'Deployment')?.manifest as {
    spec: { template: { spec: { containers: Container[]; volumes: { name: string }[] } } };
  };
  const shipped = deployment.spec.template.spec.containers[0]!;
  const sidecar = values.extraContainers[0]!;
  for (const part of [
    'image',
    'env',
    'volumeMounts',
    'startupProbe',
    'livenessProbe',
    'readinessProbe',
    'lifecycle',
    'resources',
  ] as const) {
    t.same(sidecar[part], shipped[part], part);
  }
  t.match(sidecar.securityContext, { ...shipped.securityContext, runAsNonRoot: true });
  const volumes = deployment.spec.template.spec.volumes.filter(({ name }) =>
    values.extraVolumes.some((each) => each.name === name),
  );
  t.same(values.extraVolumes, volumes);
});
