import t from 'tap';
import {
  configOf,
  faultsAgainst,
  faultsOfManifest,
  forgeSettings,
  readManifests,
  type Container,
} from './manifests.ts';

type Json = Record<string, unknown>;

interface Deployment {
  readonly spec: {
    readonly selector: { readonly matchLabels: Json };
    readonly template: {
      readonly metadata: { readonly labels: Json };
      readonly spec: {
        readonly containers: readonly Container[];
        readonly volumes: readonly (Json & { readonly name: string })[];
        readonly securityContext: Json;
        readonly automountServiceAccountToken: boolean;
        readonly terminationGracePeriodSeconds: number;
      };
    };
  };
}

const manifests = readManifests();
const find = (kind: string): unknown => manifests.find(({ manifest }) => manifest['kind'] === kind)?.manifest;
const deployment = find('Deployment') as Deployment;
const pod = deployment.spec.template.spec;
const [sallyport, forge] = pod.containers as [Container, Container];
const configText = (find('ConfigMap') as { data: Record<string, string> }).data['sallyport.yaml'] ?? '';
const secret = find('Secret') as { stringData: Record<string, string> };

t.test("every manifest is valid by Kubernetes' own schema, unknown fields refused", async (t) => {
  const kinds = manifests.map(({ manifest }) => String(manifest['kind'])).sort();
  t.same(kinds, ['ConfigMap', 'Deployment', 'NetworkPolicy', 'PersistentVolumeClaim', 'Secret', 'Service']);
  for (const { file, manifest } of manifests) t.same(faultsOfManifest(manifest), [], file);
});

t.test('the schema sees a misspelt field, a wrong type and a missing one', async (t) => {
  const container = 'io.k8s.api.core.v1.Container';
  t.same(faultsAgainst(container, { name: 'a' }), []);
  t.match(faultsAgainst(container, { name: 'a', imagee: 'b' }), [/imagee/]);
  t.match(
    faultsAgainst(container, { name: 'a', ports: [{ containerPort: 'http' }] }).join('\n'),
    /containerPort/,
  );
  t.match(faultsAgainst(container, {}), [/name/]);
  t.match(faultsOfManifest({ kind: 'Sallyport' }), [/not known/]);
});

t.test('all stand in one namespace, and selectors meet the labels of the pod', async (t) => {
  for (const { file, manifest } of manifests) {
    t.equal((manifest['metadata'] as Json)['namespace'], 'forge', file);
  }
  const { labels } = deployment.spec.template.metadata;
  t.match(labels, deployment.spec.selector.matchLabels);
  t.match(labels, (find('Service') as { spec: { selector: Json } }).spec.selector);
  t.match(
    labels,
    (find('NetworkPolicy') as { spec: { podSelector: { matchLabels: Json } } }).spec.podSelector.matchLabels,
  );
});

t.test(
  'the configuration in the ConfigMap loads, and its secrets are keys of the mounted Secret',
  async (t) => {
    const config = configOf(configText);
    const folder = sallyport.volumeMounts?.find(({ name }) => name === 'sallyport-secrets')?.mountPath ?? '';
    const named = [...(config.session.secret_files ?? []), config.sources[0]?.client_secret_file ?? ''];
    t.same(
      named.sort(),
      Object.keys(secret.stringData)
        .map((key) => `${folder}/${key}`)
        .sort(),
    );
    t.equal(
      String(sallyport.env?.find(({ name }) => name === 'SALLYPORT_CONFIG')?.value),
      '/etc/sallyport/sallyport.yaml',
    );
    const [proxy, operations] = sallyport.ports ?? [];
    t.equal(config.server.listen, `0.0.0.0:${proxy?.containerPort}`);
    t.equal(config.operations.listen, `0.0.0.0:${operations?.containerPort}`);
  },
);

t.test(
  'the forge lets nobody in by another way, nor anybody take a name that another will have',
  async (t) => {
    const env = Object.fromEntries((forge.env ?? []).map(({ name, value }) => [name, value]));
    for (const [key, value] of Object.entries(forgeSettings()))
      t.equal(env[`FORGEJO__${key.replace('.', '__')}`], value, key);
    t.match(env['FORGEJO__admin__USER_DISABLED_FEATURES'], 'change_username');
  },
);

t.test('the forge can be reached by the shared socket alone', async (t) => {
  const env = Object.fromEntries((forge.env ?? []).map(({ name, value }) => [name, value]));
  t.equal(env['FORGEJO__server__PROTOCOL'], 'http+unix');
  t.match(configText, `url: unix:${env['FORGEJO__server__HTTP_ADDR']}`);
  t.notOk(forge.ports, 'the forge declares no port');
  const folder = (container: Container) =>
    container.volumeMounts?.find(({ name }) => name === 'forge-socket')?.mountPath;
  t.equal(folder(forge), '/run/forgejo');
  t.equal(folder(sallyport), '/run/forgejo');
  const ports = (find('Service') as { spec: { ports: { targetPort: string }[] } }).spec.ports;
  t.same(
    ports.map(({ targetPort }) => targetPort),
    ['proxy'],
    'the service leads to Sallyport',
  );
});

t.test('a changed ConfigMap reaches the file: no subPath', async (t) => {
  t.notOk(sallyport.volumeMounts?.some(({ subPath }) => subPath !== undefined));
});

t.test('nothing runs as root, escalates or writes to its image', async (t) => {
  t.match(pod.securityContext, {
    runAsNonRoot: true,
    runAsUser: 1000,
    seccompProfile: { type: 'RuntimeDefault' },
  });
  t.equal(pod.automountServiceAccountToken, false);
  for (const { name, securityContext } of pod.containers) {
    t.match(securityContext, { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } }, name);
  }
  t.equal(sallyport.securityContext?.['readOnlyRootFilesystem'], true);
});

t.test('probes ask what tells: livez for life, readyz for traffic; resources are bounded', async (t) => {
  t.match(sallyport.livenessProbe, { httpGet: { path: '/livez', port: 'operations' } });
  t.match(sallyport.startupProbe, { httpGet: { path: '/livez', port: 'operations' } });
  t.match(sallyport.readinessProbe, { httpGet: { path: '/readyz', port: 'operations' } });
  for (const { name, resources } of pod.containers) t.ok(resources?.limits?.['memory'], name);
});

t.test('the pod is given the time that draining takes, and the forge outlives it', async (t) => {
  const { server } = configOf(configText);
  const drainedAfter = (sallyport.lifecycle?.preStop?.sleep?.seconds ?? 0) + server.shutdown_grace / 1000;
  const forgeLeaves = forge.lifecycle?.preStop?.sleep?.seconds ?? 0;
  t.ok(forgeLeaves >= drainedAfter, `${forgeLeaves} s against ${drainedAfter} s`);
  t.ok(pod.terminationGracePeriodSeconds > forgeLeaves);
});

t.test('only the ingress and the monitoring get in, each to its own port', async (t) => {
  const { spec } = find('NetworkPolicy') as {
    spec: { policyTypes: string[]; ingress: { from: Json[]; ports: { port: number }[] }[]; egress: Json[] };
  };
  t.same(spec.policyTypes, ['Ingress', 'Egress']);
  t.same(
    spec.ingress.map(({ ports }) => ports.map(({ port }) => port)),
    [[4180], [9464]],
  );
  for (const rule of spec.ingress) t.ok(rule.from.length > 0, 'an empty from would let everybody in');
});
