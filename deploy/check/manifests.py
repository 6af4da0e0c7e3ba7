"""Holds what would be applied to a cluster to Kubernetes' own schemas and to what we promise.

Looks at deploy/k8s/rendered. Schemas: of the oldest and the newest Kubernetes that is
supported, with no unknown field; custom resources by custom.mjs. Beside that each rule
below says what it holds in its first line.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

import told

SUPPORTED = ("1.27", "1.37")
CUSTOM = {"gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com"}
ROLES = ("gateway", "api", "worker")

# Made by whoever deploys, in no overlay but that for trials.
SECRETS_OF_OTHERS = {"carillon-redis", "carillon-token-keys"}

# Memory of a socket with all that the kernel has of it, of the costliest protocol, and
# of a gateway without sockets: docs/kubernetes.md, "Size".
SOCKET = 10 * 1024
EMPTY = 128 * 2**20


class Overlay:
    """What one overlay renders to."""

    def __init__(self, path):
        self.name = path.stem
        self.all = [document for document in yaml.safe_load_all(path.read_text()) if document]

    def kind(self, *kinds):
        return [resource for resource in self.all if resource["kind"] in kinds]

    def named(self, kind, name):
        return next((found for found in self.kind(kind) if found["metadata"]["name"] == name), None)

    def workloads(self):
        return self.kind("Deployment", "StatefulSet")

    def roles(self):
        """Our own Deployments by what they run."""
        labels = "app.kubernetes.io/component"
        return {found["metadata"]["labels"][labels]: found for found in self.kind("Deployment")}

    def environment(self, workload):
        """What its container is given as variables."""
        container = only_container(workload)
        given = {}
        for source in container.get("envFrom", []):
            settings = self.named("ConfigMap", source["configMapRef"]["name"])
            given |= settings["data"] if settings else {}
        return given | {entry["name"]: entry["value"] for entry in container.get("env", [])}


def pod(workload):
    return workload["spec"]["template"]["spec"]


def only_container(workload):
    (container,) = pod(workload)["containers"]
    return container


def title(resource):
    return f"{resource['kind']} {resource['metadata']['name']}"


def matches(selector, labels):
    """Whether a label selector takes these labels. Knows `In`, the one operator in use."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] != "In" or labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def chosen(overlay, selector):
    return [
        workload
        for workload in overlay.workloads()
        if matches(selector, workload["spec"]["template"]["metadata"]["labels"])
    ]


def schemas_are_kept(overlay, root):
    """Every object is one that the oldest and the newest Kubernetes take."""
    for resource in overlay.all:
        if resource["apiVersion"].split("/")[0] in CUSTOM:
            continue
        for version in SUPPORTED:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(str(part) for part in error.path)
                yield f"{title(resource)}, Kubernetes {version}: {place}: {error.message}"
            except kubernetes_validate.SchemaNotFoundError:
                yield f"{title(resource)}: Kubernetes {version} knows no such thing"


def pods_have_time_to_leave(overlay, root):
    """The grace period is the delay, the window and 15 s, or longer, but not much longer."""
    names, _ = told.settings(root)
    for workload in overlay.kind("Deployment"):
        given = pod(workload)["terminationGracePeriodSeconds"]
        needed = told.grace(overlay.environment(workload), names)
        if not needed <= given <= needed + 30:
            yield f"{title(workload)}: a grace period of {given} s where {needed:g} s are needed"


def roles_are_there(overlay, root):
    """Gateway, api and worker, each running its own program of the one image."""
    roles = overlay.roles()
    if set(roles) != set(ROLES):
        yield f"has {sorted(roles)} where {sorted(ROLES)} are wanted"
    for role, workload in roles.items():
        if only_container(workload)["command"] != [f"/{role}"]:
            yield f"{title(workload)} does not run /{role}"
    if len({only_container(workload)["image"] for workload in roles.values()}) != 1:
        yield "not all roles run the same image"
    for workload in overlay.workloads():
        image = only_container(workload)["image"]
        if ":" not in image.split("/")[-1] or image.endswith(":latest"):
            yield f"{title(workload)}: {image} says no version"


def settings_are_known(overlay, root):
    """Every variable is one of ours, none is a secret, and ports are those that are listened on."""
    names, secret = told.settings(root)
    for role, workload in overlay.roles().items():
        given = overlay.environment(workload)
        for wrong in told.wrong_settings(given, names, secret):
            yield f"{title(workload)}: {wrong}"
        listened = {
            int(value.rsplit(":", 1)[1])
            for name, value in given.items()
            if name in (f"CARILLON_{role.upper()}_LISTEN", f"CARILLON_{role.upper()}_ADMIN_LISTEN")
        }
        ports = {port["containerPort"] for port in only_container(workload)["ports"]}
        if listened != ports:
            yield f"{title(workload)} listens on {sorted(listened)} and shows {sorted(ports)}"
        mounts = {mount["mountPath"] for mount in only_container(workload)["volumeMounts"]}
        for name, value in given.items():
            if name.endswith("_FILE") and str(Path(value).parent) not in mounts:
                yield f"{title(workload)}: {name} is a file in no volume"


def files_of_secrets_are_mounted(overlay, root):
    """Each file that a setting names is an item of the volume."""
    for workload in overlay.roles().values():
        items = {
            item["path"]
            for volume in pod(workload)["volumes"]
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        wanted = {Path(v).name for k, v in overlay.environment(workload).items() if k.endswith("_FILE")}
        if items != wanted:
            yield f"{title(workload)} mounts {sorted(items)} and reads {sorted(wanted)}"


def pods_are_restricted(overlay, root):
    """What the Pod Security Standard `restricted` asks, a read-only root and no account."""
    for workload in overlay.workloads():
        spec, container = pod(workload), only_container(workload)
        outer, inner = spec.get("securityContext", {}), container.get("securityContext", {})
        wanted = {
            "runAsNonRoot": outer.get("runAsNonRoot") is True,
            "a user by number": outer.get("runAsUser", 0) > 0,
            "seccompProfile": outer.get("seccompProfile") == {"type": "RuntimeDefault"},
            "allowPrivilegeEscalation": inner.get("allowPrivilegeEscalation") is False,
            "readOnlyRootFilesystem": inner.get("readOnlyRootFilesystem") is True,
            "capabilities": inner.get("capabilities") == {"drop": ["ALL"]},
            "automountServiceAccountToken": spec.get("automountServiceAccountToken") is False,
        }
        for what, holds in wanted.items():
            if not holds:
                yield f"{title(workload)} is not restricted: {what}"
    for namespace in overlay.kind("Namespace"):
        if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{title(namespace)} does not enforce restricted pods"


def resources_are_said(overlay, root):
    """CPU and memory are requested, memory alone is limited, and carries the sockets."""
    for workload in overlay.workloads():
        resources = only_container(workload)["resources"]
        if set(resources["requests"]) != {"cpu", "memory"} or set(resources["limits"]) != {"memory"}:
            yield f"{title(workload)}: requests are CPU and memory, the limit is memory alone"
    for role, workload in overlay.roles().items():
        if role == "gateway":
            sockets = int(overlay.environment(workload)["CARILLON_GATEWAY_MAX_CONNECTIONS"])
            limit = told.size(only_container(workload)["resources"]["limits"]["memory"])
            if sockets * SOCKET + EMPTY > 0.85 * limit:
                yield f"{title(workload)}: {sockets} sockets do not fit into {limit >> 20} MiB"


def probes_ask_the_admin_port(overlay, root):
    """Alive is /live, ready is /ready, and starting is alive: never Redis."""
    asked = {"startupProbe": "/live", "livenessProbe": "/live", "readinessProbe": "/ready"}
    for workload in overlay.roles().values():
        for probe, path in asked.items():
            found = only_container(workload).get(probe, {}).get("httpGet")
            if found != {"path": path, "port": "admin"}:
                yield f"{title(workload)}: {probe} does not ask {path} of the admin port"


def rollouts_lose_nothing(overlay, root):
    """A successor is ready before anybody has to go, and pods are spread."""
    for role, workload in overlay.roles().items():
        if workload["spec"]["strategy"].get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{title(workload)}: pods go before their successors are ready"
        if "preStop" in str(only_container(workload).get("lifecycle", {})):
            yield f"{title(workload)}: a preStop hook, where the process waits by itself"
        keys = {spread["topologyKey"] for spread in pod(workload).get("topologySpreadConstraints", [])}
        if keys != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield f"{title(workload)}: pods are not spread over zones and machines"
        budgets = [
            budget["spec"]
            for budget in overlay.kind("PodDisruptionBudget")
            if workload in chosen(overlay, budget["spec"]["selector"])
        ]
        if [(b.get("maxUnavailable"), b.get("unhealthyPodEvictionPolicy")) for b in budgets] != [(1, "AlwaysAllow")]:
            yield f"{title(workload)} has not one budget for disruptions, of one pod"


def selectors_choose(overlay, root):
    """Whatever chooses pods chooses some, and names ports that these have."""
    for resource in overlay.all:
        spec = resource.get("spec", {})
        selectors, ports = [], []
        if resource["kind"] == "Service":
            selectors = [{"matchLabels": spec["selector"]}]
            ports = [port["targetPort"] for port in spec["ports"]]
        elif resource["kind"] in ("Deployment", "StatefulSet"):
            selectors = [spec["selector"]]
            selectors += [s["labelSelector"] for s in pod(resource).get("topologySpreadConstraints", [])]
        elif resource["kind"] == "PodDisruptionBudget":
            selectors = [spec["selector"]]
        elif resource["kind"] == "PodMonitor":
            selectors = [spec["selector"]]
            ports = [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]]
        elif resource["kind"] == "NetworkPolicy":
            selectors = [spec["podSelector"]]
            ports = [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
        for selector in selectors:
            if not chosen(overlay, selector):
                yield f"{title(resource)} chooses no pods: {selector}"
            for workload in chosen(overlay, selector):
                known = {port["name"] for port in only_container(workload)["ports"]}
                for port in ports:
                    if port not in known:
                        yield f"{title(resource)} names port {port}, which {title(workload)} does not have"


def references_lead_somewhere(overlay, root):
    """What is mounted, routed to and scaled is there, or is somebody else's to make."""
    for workload in overlay.workloads():
        for source in only_container(workload).get("envFrom", []):
            if not overlay.named("ConfigMap", source["configMapRef"]["name"]):
                yield f"{title(workload)}: no ConfigMap {source['configMapRef']['name']}"
        for volume in pod(workload).get("volumes", []):
            for source in volume["projected"]["sources"]:
                kind = "Secret" if "secret" in source else "ConfigMap"
                name = (source.get("secret") or source.get("configMap"))["name"]
                if not overlay.named(kind, name) and not (kind == "Secret" and name in SECRETS_OF_OTHERS):
                    yield f"{title(workload)}: no {kind} {name}"
    for name, port, where in backends(overlay):
        service = overlay.named("Service", name)
        if not service or port not in [p[key] for p in service["spec"]["ports"] for key in ("port", "name")]:
            yield f"{where} leads to {name}:{port}, which is not there"


def backends(overlay):
    """The services that clients are led to: name, port, and by what."""
    for route in overlay.kind("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield backend["name"], backend["port"], title(route)
    for ingress in overlay.kind("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                yield service["name"], *service["port"].values(), title(ingress)


def one_scales_gateways(overlay, root):
    """At most one autoscaler, of gateways that are there and whose number nothing else says."""
    scalers = overlay.kind("HorizontalPodAutoscaler", "ScaledObject")
    if len(scalers) > 1:
        yield "more than one autoscaler"
    for scaler in scalers:
        target = overlay.named("Deployment", scaler["spec"]["scaleTargetRef"]["name"])
        if not target:
            yield f"{title(scaler)} scales what is not there"
        elif "replicas" in target["spec"]:
            yield f"{title(target)} says how many, and {title(scaler)} does too"


def nobody_else_comes_or_goes(overlay, root):
    """Each of our pods is closed in both directions but for what is let through."""
    for workload in overlay.roles().values():
        closed = set()
        for policy in overlay.kind("NetworkPolicy"):
            spec = policy["spec"]
            if workload in chosen(overlay, spec["podSelector"]):
                if not spec.get("ingress") and not spec.get("egress"):
                    closed |= set(spec["policyTypes"])
                if any(rule == {} for rule in spec.get("ingress", []) + spec.get("egress", [])):
                    yield f"{title(policy)} lets everything through"
        if closed != {"Ingress", "Egress"}:
            yield f"{title(workload)} is not closed by a policy without rules"


def secrets_are_for_trials(overlay, root):
    """No overlay but that for trials has secrets."""
    if overlay.name != "dev":
        for secret in overlay.kind("Secret"):
            yield f"{title(secret)} is committed"


def proxies_wait_for_sockets(overlay, root):
    """No proxy cuts a quiet socket sooner than after two heartbeats and some."""
    names, _ = told.settings(root)
    for workload in (w for role, w in overlay.roles().items() if role == "gateway"):
        given = overlay.environment(workload)
        least = 2 * told.seconds(given.get("CARILLON_GATEWAY_HEARTBEAT") or names["CARILLON_GATEWAY_HEARTBEAT"])
        for route in overlay.kind("HTTPRoute"):
            if route["metadata"]["name"] == "carillon-gateway":
                for rule in route["spec"]["rules"]:
                    if rule.get("timeouts", {}).get("request") != "0s":
                        yield f"{title(route)} ends sockets"
        for ingress in overlay.kind("Ingress"):
            if ingress["metadata"]["name"] == "carillon-gateway":
                for name, text in ingress["metadata"]["annotations"].items():
                    if re.search(r"proxy-(read|send)-timeout|timeout-tunnel", name):
                        if int(text.rstrip("s")) <= least:
                            yield f"{title(ingress)}: {name} cuts quiet sockets"


def objects_can_be_applied(overlay, root):
    """`kubectl apply` keeps what it applied in an annotation, which has room for 256 KiB."""
    for resource in overlay.all:
        if len(json.dumps(resource)) > 250 * 1024:
            yield f"{title(resource)} is too large to be applied"


RULES = [
    schemas_are_kept,
    objects_can_be_applied,
    pods_have_time_to_leave,
    roles_are_there,
    settings_are_known,
    files_of_secrets_are_mounted,
    pods_are_restricted,
    resources_are_said,
    probes_ask_the_admin_port,
    rollouts_lose_nothing,
    selectors_choose,
    references_lead_somewhere,
    one_scales_gateways,
    nobody_else_comes_or_goes,
    secrets_are_for_trials,
    proxies_wait_for_sockets,
]


ADAPTER = "deploy/k8s/components/hpa-adapter/adapter-values.yaml"

# Gateways as Prometheus sees them: sockets of two dialects, how many more, phase, how the
# condition redis is; and how full, if that is said.
GATEWAYS = {
    "a": (30, 40, 30, 1, 0, 0.7),
    "empty": (0, 0, 100, 1, 0, 0),
    "short-of-memory": (40, 10, 0, 1, 0, 1),
    "leaving": (20, 0, 80, 2, 0, 0.2),
    "without-redis": (40, 10, 0, 1, 1, None),
}


def queries(root, overlays):
    """What autoscalers ask Prometheus: where that stands, the query, and who is to be seen in it."""
    for entry in yaml.safe_load((root / ADAPTER).read_text())["rules"]["custom"]:
        matched = entry["metricsQuery"].replace("<<.LabelMatchers>>", 'namespace="carillon",pod=~".+"')
        answers = {f'{{pod="{pod}"}}': full for pod, (*_, full) in GATEWAYS.items() if full is not None}
        yield ADAPTER, matched.replace("<<.GroupBy>>", "pod"), answers
    # KEDA has the sum, does not see who leaves, and is to leave alone who is away from Redis.
    whole = sum(0.7 if full is None else full for *_, phase, _, full in GATEWAYS.values() if phase == 1)
    for overlay in overlays:
        for scaler in overlay.kind("ScaledObject"):
            for trigger in scaler["spec"]["triggers"]:
                if trigger["type"] == "prometheus":
                    yield f"{overlay.name}: {title(scaler)}", trigger["metadata"]["query"], {"{}": whole}


def autoscalers_ask_for_what_is_there(root, overlays):
    """Their metrics are exported, or made by the adapter."""
    names = told.metrics(root)
    rules = yaml.safe_load((root / ADAPTER).read_text())["rules"]["custom"]
    asked = [(ADAPTER, entry["seriesQuery"]) for entry in rules]
    asked += [(where, query) for where, query, _ in queries(root, overlays)]
    for where, query in asked:
        for name in re.findall(r"carillon_\w+", query):
            if name not in names:
                yield f"{where}: {name} is no metric of docs/operations.md"
    made = {entry["name"]["as"] for entry in rules}
    for overlay in overlays:
        for scaler in overlay.kind("HorizontalPodAutoscaler"):
            metrics = scaler["spec"]["metrics"]
            wanted = {metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"}
            if not wanted <= made:
                yield f"{overlay.name}: {title(scaler)} asks for {sorted(wanted)}, and the adapter makes {sorted(made)}"


def autoscalers_see_how_full_gateways_are(root, overlays):
    """Prometheus answers their queries as it should, of gateways in every state."""
    series = []
    for pod, (push, misskey, headroom, phase, redis, _) in GATEWAYS.items():
        labels = f'namespace="carillon",pod="{pod}"'
        series += [
            (f'carillon_gateway_connections{{{labels},dialect="push"}}', push),
            (f'carillon_gateway_connections{{{labels},dialect="misskey"}}', misskey),
            (f"carillon_gateway_headroom{{{labels}}}", headroom),
            (f"carillon_node_phase{{{labels}}}", phase),
            (f'carillon_condition{{{labels},condition="redis"}}', redis),
            (f'carillon_condition{{{labels},condition="link"}}', redis),
        ]
    for where, query, answers in queries(root, overlays):
        samples = [{"labels": labels, "value": value} for labels, value in answers.items()]
        test = {
            "interval": "1m",
            "input_series": [{"series": name, "values": str(value)} for name, value in series],
            "promql_expr_test": [{"expr": query, "eval_time": "0m", "exp_samples": samples}],
        }
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"tests": [test]}, file)
            file.flush()
            command = ["promtool", "test", "rules", file.name]
            answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode != 0:
            yield f"{where}: {(answer.stderr or answer.stdout).strip()}"


def redis_for_trials_is_as_told(root):
    """Settings and users of the Redis for trials are those of the page for operators."""
    given = (root / "deploy/k8s/components/redis-dev/redis.conf").read_text().splitlines()
    for line in told.redis_settings(root):
        if line not in given:
            yield f"redis.conf does not say: {line}"
    users = (root / "deploy/k8s/overlays/dev/secrets/users.acl").read_text().splitlines()
    for line in told.users(root):
        if line not in users:
            yield f"users.acl does not have {' '.join(line.split()[:2])} as docs/operations.md has it"


def custom_resources_are_right(root):
    """As custom.mjs sees them."""
    files = sorted(str(path) for path in (root / "deploy/k8s/rendered").glob("*.yaml"))
    script = Path(__file__).resolve().parent / "custom.mjs"
    answer = subprocess.run(["node", script, *files], capture_output=True, text=True)
    yield from answer.stdout.splitlines()
    if answer.returncode != 0 and not answer.stdout:
        yield f"custom.mjs failed: {answer.stderr.strip()}"


def faults(root):
    overlays = [Overlay(path) for path in sorted((root / "deploy/k8s/rendered").glob("*.yaml"))]
    if not overlays:
        yield "nothing is rendered"
    for overlay in overlays:
        for rule in RULES:
            for fault in rule(overlay, root):
                yield f"{overlay.name}: {fault}"
    yield from custom_resources_are_right(root)
    yield from autoscalers_ask_for_what_is_there(root, overlays)
    yield from autoscalers_see_how_full_gateways_are(root, overlays)
    yield from redis_for_trials_is_as_told(root)
