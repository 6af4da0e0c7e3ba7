"""Each check of deploy.py finds what it is for: every kind of file is broken on purpose.

A case edits one file of a copy of the repository, and names the rule that must say
something, and what. `python3 -m unittest` in this folder runs them.
"""

import contextlib
import shutil
import tempfile
import unittest
from pathlib import Path

import deploy
import image
import manifests
import origin
import render

ROOT = Path(__file__).resolve().parents[2]
DEV = "deploy/k8s/rendered/dev.yaml"
PROD = "deploy/k8s/rendered/prod.yaml"
OTHER = "deploy/k8s/rendered/alternative.yaml"
COMPOSE = "deploy/compose.yaml"
DOCKERFILE = "deploy/Dockerfile"

# Rule, file, what stands there, what stands there instead, what is then said.
RENDERED = [
    ("schemas_are_kept", PROD, "minReadySeconds: 30", "minReadySeconds: soon", "is not of type 'integer'"),
    ("schemas_are_kept", PROD, "minReadySeconds: 30", "minReadySecond: 30", "'minReadySecond' was unexpected"),
    ("schemas_are_kept", PROD, "kind: PodDisruptionBudget", "kind: PodDisruption", "knows no such thing"),
    ("schemas_are_kept", PROD, "enableServiceLinks: false", "hostnameOverride: a", "Kubernetes 1.27"),
    ("objects_can_be_applied", PROD, "grafana_dashboard:", f"grafana: {'x' * 2**18}\n    grafana_dashboard:", "too large"),
    ("pods_have_time_to_leave", OTHER, "terminationGracePeriodSeconds: 330", "terminationGracePeriodSeconds: 90", "325 s are needed"),
    ("pods_have_time_to_leave", DEV, "CARILLON_DRAIN_WINDOW: 5s", "CARILLON_DRAIN_WINDOW: 1m", "77 s are needed"),
    ("pods_have_time_to_leave", DEV, "CARILLON_SHUTDOWN_DELAY: 2s", "CARILLON_SHUTDOWN_DELAY: 1m", "80 s are needed"),
    ("roles_are_there", PROD, "- /worker", "- /api", "does not run /worker"),
    ("roles_are_there", PROD, "image: registry.example.org/carillon:0.1.0", "image: registry.example.org/carillon", "says no version"),
    ("settings_are_known", PROD, "CARILLON_GATEWAY_SHARDS", "CARILLON_GATEWAY_SHARD", "CARILLON_GATEWAY_SHARD is no setting"),
    ("settings_are_known", PROD, "CARILLON_GATEWAY_MAX_AGE: 2h", "CARILLON_TOKEN_KEYS: a", "give it as a file"),
    ("settings_are_known", PROD, "name: CARILLON_REDIS_URL_FILE", "name: CARILLON_REDIS_URL", "give it as a file"),
    ("settings_are_known", PROD, "0.0.0.0:9102", "0.0.0.0:9109", "listens on [8081, 9109]"),
    ("files_of_secrets_are_mounted", OTHER, "path: redis-ca.crt", "path: ca.crt", "reads"),
    ("pods_are_restricted", PROD, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem"),
    ("pods_are_restricted", DEV, "runAsUser: 999", "runAsUser: 0", "a user by number"),
    ("pods_are_restricted", PROD, "enforce: restricted", "enforce: baseline", "does not enforce"),
    ("resources_are_said", PROD, 'cpu: "2"', 'cpus: "2"', "requests are CPU and memory"),
    ("resources_are_said", PROD, 'MAX_CONNECTIONS: "50000"', 'MAX_CONNECTIONS: "100000"', "100000 sockets do not fit"),
    ("probes_ask_the_admin_port", PROD, "path: /live", "path: /ready", "does not ask /live"),
    ("rollouts_lose_nothing", PROD, "maxUnavailable: 0", "maxUnavailable: 1", "before their successors"),
    ("rollouts_lose_nothing", PROD, "unhealthyPodEvictionPolicy: AlwaysAllow", "unhealthyPodEvictionPolicy: IfHealthyBudget", "not one budget"),
    ("rollouts_lose_nothing", PROD, "topologyKey: topology.kubernetes.io/zone", "topologyKey: a", "not spread"),
    ("selectors_choose", PROD, "- port: sockets", "- port: socket", "names port socket"),
    ("selectors_choose", PROD, "  podMetricsEndpoints:\n  - interval: 15s\n    path: /metrics\n    port: admin", "  podMetricsEndpoints:\n  - port: metrics", "names port metrics"),
    ("references_lead_somewhere", DEV, "    name: carillon-redis-acl-", "    name: carillon-redis-users-", "no Secret"),
    ("references_lead_somewhere", PROD, "- name: carillon-gateway\n      port: 8080", "- name: carillon-gateway\n      port: 80", "leads to carillon-gateway:80"),
    ("one_scales_gateways", PROD, "kind: Deployment\n    name: carillon-gateway", "kind: Deployment\n    name: gateway", "scales what is not there"),
    ("one_scales_gateways", PROD, "  revisionHistoryLimit: 5", "  replicas: 2", "does too"),
    ("nobody_else_comes_or_goes", PROD, "policyTypes:\n  - Ingress\n  - Egress", "policyTypes:\n  - Ingress", "not closed"),
    ("secrets_are_for_trials", PROD, "kind: Namespace", "kind: Secret", "is committed"),
    ("proxies_wait_for_sockets", PROD, "request: 0s", "request: 60s", "ends sockets"),
    ("proxies_wait_for_sockets", OTHER, "timeout-tunnel: 75s", "timeout-tunnel: 30s", "cuts quiet sockets"),
]

# The same, of whole repositories.
WHOLE = [
    (render.faults, "deploy/k8s/base/gateway.yaml", "minReadySeconds: 30", "minReadySeconds: 31", "rendered/prod.yaml is not what the overlay says"),
    (render.faults, "deploy/k8s/base/leaving.env", "GRACE_SECONDS=90", "GRACE_SECONDS=91", "rendered/prod.yaml is not"),
    (render.faults, "deploy/k8s/components/keda/kustomization.yaml", "scaledobject.yaml", "object.yaml", "cannot be rendered"),
    (render.faults, "deploy/prometheus/rules/alerts.yaml", "for: 1m", "for: 9m", "prometheus-rule.yaml is not as"),
    (manifests.custom_resources_are_right, PROD, "request: 0s", "request: never", "must match pattern"),
    (manifests.custom_resources_are_right, PROD, "- interval: 15s", "- intervall: 15s", "'\"intervall\"' does not exist"),
    (manifests.custom_resources_are_right, OTHER, "maxReplicaCount: 20", "maxReplicaCount: many", "must be"),
    (manifests.redis_for_trials_is_as_told, "deploy/k8s/components/redis-dev/redis.conf", "noeviction", "allkeys-lru", "does not say: maxmemory-policy noeviction"),
    (manifests.redis_for_trials_is_as_told, "deploy/k8s/overlays/dev/secrets/users.acl", "+publish", "+xpublish", "does not have user carillon-gateway"),
    (manifests.redis_for_trials_is_as_told, "deploy/k8s/overlays/dev/secrets/users.acl", "off ~* &* +@all", "off", "does not have user default"),
    (image.dockerfiles_pass_hadolint, DOCKERFILE, "rust:1.95.0-bookworm", "rust", "DL3006"),
    (image.dockerfiles_pass_hadolint, DOCKERFILE, "WORKDIR /src", "WORKDIR src", "DL3000"),
    (image.dockerfiles_pass_hadolint, "deploy/Dockerfile.prebuilt", "COPY . /", "COPYY . /", "Dockerfile.prebuilt"),
    (image.image_is_programs_alone, DOCKERFILE, "FROM scratch", "FROM debian:12", "not from scratch"),
    (image.image_is_programs_alone, DOCKERFILE, "USER 65532:65532", "USER carillon", "the user is no number"),
    (image.image_is_programs_alone, DOCKERFILE, "# One image", "# syntax=docker/dockerfile:1\n# One image", "a frontend"),
    (image.image_is_programs_alone, "deploy/Dockerfile.prebuilt", "EXPOSE 8080 ", "EXPOSE ", "not make the same image"),
    (image.ports_are_those_listened_on, DOCKERFILE, "EXPOSE 8080", "EXPOSE 8000", "8000"),
    (image.compiler_is_new_enough, DOCKERFILE, "1.95.0", "1.94.0", "1.95 is needed"),
    (image.compiler_is_new_enough, DOCKERFILE, "RUSTUP_TOOLCHAIN=1.95.0", "RUSTUP_TOOLCHAIN=stable", "different compilers"),
    (image.context_has_what_is_built, ".dockerignore", "!broker\n", "", "leaves out broker/Cargo.toml"),
    (image.context_has_what_is_built, ".dockerignore", "!deploy/static.sh", "!deploy", "lets deploy/k8s/overlays/dev/secrets/token-keys in"),
    (image.context_has_what_is_built, ".dockerignore", "**/node_modules\n", "", "node_modules"),
    (image.compose_passes_dclint, COMPOSE, "restart: unless-stopped\n    command:", "restarts: always\n    command:", "must NOT have additional properties"),
    (image.compose_passes_dclint, COMPOSE, "'127.0.0.1:9090:9090'", "'127.0.0.1:8080:9090'", "8080"),
    (image.compose_has_a_cluster, COMPOSE, "CARILLON_DRAIN_WINDOW: 10s", "CARILLON_DRAIN_WINDOW: 60s", "78 s are needed"),
    (image.compose_has_a_cluster, COMPOSE, "CARILLON_SITES", "CARILLON_SITE", "CARILLON_SITE is no setting"),
    (image.compose_has_a_cluster, COMPOSE, '"/worker", "health"', '"/api", "health"', "another program"),
    (image.compose_has_a_cluster, COMPOSE, "cap_drop:\n    - ALL", "cap_drop:\n    - CHOWN", "more than it needs"),
    (image.compose_names_what_is_there, COMPOSE, "./local/haproxy.cfg", "./haproxy.cfg", "which is not there"),
    (image.compose_names_what_is_there, COMPOSE, "GATEWAY_2_ADMIN:", "GATEWAY_3_ADMIN:", "not told GATEWAY_2_ADMIN"),
    (image.compose_names_what_is_there, COMPOSE, "'127.0.0.1:8081:8081'", "'8081:8081'", "beyond this machine"),
    (image.compose_names_what_is_there, COMPOSE, "redis:7.0.15-bookworm", "redis:latest", "says no version"),
    (image.prometheus_scrapes_services, "deploy/prometheus/prometheus.yml", "gateway-2:9101", "gateway-3:9101", "does not scrape gateway-2:9101"),
    (image.prometheus_scrapes_services, COMPOSE, ":/var/lib/grafana/dashboards:ro", ":/dashboards:ro", "nothing is mounted"),
    (origin.dependencies_are_allowed, "deny.toml", '    "ISC",\n', "", "failed to satisfy license requirements"),
    (origin.dependencies_are_allowed, "deny.toml", "procfs@0.17", "procfs@0.16", "found 2 duplicate entries for crate 'rustix'"),
    (origin.dependencies_are_allowed, "deny.toml", "unknown-git", "unknown-gist", "unexpected keys"),
    (origin.bill_can_be_made_again, "deploy/sbom.py", "uuid.uuid5(uuid.NAMESPACE_OID, digest)", "uuid.uuid4()", "something else"),
    (origin.bill_keeps_its_schema, "deploy/sbom.py", '"specVersion": "1.6"', '"specVersion": 1.6', "is not of type 'string'"),
    (origin.bill_keeps_its_schema, "deploy/sbom.py", 'edges["build"] = []', 'edges["compiler"] = []', "nothing is compiler"),
]

# Of what the adapter and KEDA ask Prometheus.
THERE = manifests.autoscalers_ask_for_what_is_there
FULL = manifests.autoscalers_see_how_full_gateways_are
ASKED = [
    (THERE, manifests.ADAPTER, "as: carillon_gateway_fullness", "as: fullness", "the adapter makes"),
    (THERE, manifests.ADAPTER, "sum(carillon_gateway_headroom", "sum(carillon_gateway_room", "carillon_gateway_room is no metric"),
    (THERE, OTHER, "carillon_node_phase", "carillon_phase", "carillon_phase is no metric"),
    (FULL, manifests.ADAPTER, "clamp_min(", "clamp_min((", "parse error"),
    (FULL, manifests.ADAPTER, "        1)", "        1000)", "exp:"),
    (FULL, OTHER, "== 1", "== 2", "exp:"),
]


class BrokenOnPurpose(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        ignored = shutil.ignore_patterns("check", "node_modules")
        shutil.copytree(ROOT / "deploy", self.root / "deploy", ignore=ignored)
        for name in (".dockerignore", "deny.toml"):
            shutil.copy(ROOT / name, self.root)
        for path in ROOT.iterdir():
            if not path.name.startswith(".git") and not (self.root / path.name).exists():
                (self.root / path.name).symlink_to(path)

    @contextlib.contextmanager
    def edited(self, file, there, instead):
        """A file is otherwise for as long as one case takes."""
        path = self.root / file
        text = path.read_text()
        if there not in text:
            self.fail(f"{file} has no {there!r} to break")
        path.write_text(text.replace(there, instead))
        try:
            yield
        finally:
            path.write_text(text)

    def check(self, faults, expected):
        found = list(faults)
        self.assertTrue(any(expected in fault for fault in found), f"{expected!r} is not in {found}")

    def overlays(self):
        folder = self.root / "deploy/k8s/rendered"
        return [manifests.Overlay(path) for path in sorted(folder.glob("*.yaml"))]

    def test_as_it_is_nothing_is_wrong(self):
        self.assertEqual(list(deploy.faults(self.root)), [])

    def test_each_rule_of_manifests_has_a_case(self):
        self.assertEqual({case[0] for case in RENDERED}, {rule.__name__ for rule in manifests.RULES})

    def test_each_rule_of_the_image_has_a_case(self):
        self.assertLessEqual(set(image.RULES), {case[0] for case in WHOLE})

    def test_each_rule_of_where_things_come_from_has_a_case(self):
        self.assertLessEqual(set(origin.RULES), {case[0] for case in WHOLE})

    def test_a_broken_rendering_is_found(self):
        for rule, file, there, instead, expected in RENDERED:
            with self.subTest(rule=rule, instead=instead), self.edited(file, there, instead):
                overlay = manifests.Overlay(self.root / file)
                self.check(getattr(manifests, rule)(overlay, self.root), expected)

    def test_a_broken_source_is_found(self):
        for rule, file, there, instead, expected in WHOLE:
            with self.subTest(rule=rule.__name__, instead=instead), self.edited(file, there, instead):
                self.check(rule(self.root), expected)

    def test_a_broken_question_of_an_autoscaler_is_found(self):
        for rule, file, there, instead, expected in ASKED:
            with self.subTest(instead=instead), self.edited(file, there, instead):
                self.check(rule(self.root, self.overlays()), expected)


if __name__ == "__main__":
    unittest.main()
