#!/usr/bin/env python3
"""What Kubernetes is given, held against the real kustomize (in kubectl), the real Helm and the real schemas; then its containers run
with the real programs, as their pods say: arguments, environment, volumes, user, capabilities, a root that is read-only and has the
program alone. What is not here is a kubelet. Exit 77: it can't be done here."""

import ctypes
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROLLOUT = Path("/usr/local/lib/why502-rollout")
DEPLOY = ROOT / "deploy/kubernetes"
# The oldest release whose schema has all that is used, and the newest that is known.
OLDEST = "1.30"
# The static ones are what images have; others bring this machine's libraries along. The newest build of each is taken.
BUILDS = [ROOT / "target/x86_64-unknown-linux-gnu/release", ROOT / "target/debug"]
PROGRAMS = {
    name: max((it / name for it in BUILDS if (it / name).exists()), key=lambda it: it.stat().st_mtime)
    for name in ("why502", "why502-agent")
}
# Numbers of the kernel: capabilities that are given, and what prctl does.
CAPABILITIES = {"DAC_READ_SEARCH": 2, "SYS_PTRACE": 19}
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38

sys.path.insert(0, str(ROLLOUT))
try:
    import helm_python as helm
    import kubernetes_validate
    import yaml
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)
if os.geteuid() != 0 or not (ROLLOUT / "bin/kubectl").exists():
    print("this needs root and kubectl", file=sys.stderr)
    sys.exit(77)


# ---- what the two ways of installing give ----


def kustomized():
    rendered = subprocess.run([ROLLOUT / "bin/kubectl", "kustomize", DEPLOY / "base"], check=True, capture_output=True)
    return list(yaml.safe_load_all(rendered.stdout))


def charted():
    """As the values say: each part into a namespace of its own."""
    found = helm.lint(str(DEPLOY / "chart/why502"))
    assert not found["errors"], found
    documents = []
    with helm.Chart.load(str(DEPLOY / "chart/why502")) as chart:
        for namespace, other in (("why502", "agent"), ("why502-agent", "collector")):
            rendered = chart.render({other: {"enabled": False}}, name="why502", namespace=namespace)
            documents += [it for text in rendered.values() for it in yaml.safe_load_all(text) if it]
    return documents


def by_name(documents):
    """By kind and name, without what only one of the two adds: the hash in a configuration's name, or in an annotation."""
    known = {}
    for document in documents:
        text = json.dumps(document)
        for it in documents:
            if it["kind"] == "ConfigMap":
                text = text.replace(f'"{it["metadata"]["name"]}"', f'"{it["metadata"]["labels"]["app.kubernetes.io/name"]}"')
        document = json.loads(text)
        document.get("spec", {}).get("template", {}).get("metadata", {}).pop("annotations", None)
        known[document["kind"], document["metadata"]["name"]] = document
    return known


def held_against_schemas(documents):
    for version in (OLDEST, kubernetes_validate.latest_version()):
        for document in documents:
            kubernetes_validate.validate(document, version, strict=True)


def the_same(ours, charts):
    """Namespaces are the installer's where Helm installs."""
    ours = {key: it for key, it in ours.items() if key[0] != "Namespace"}
    assert ours.keys() == charts.keys(), (ours.keys(), charts.keys())
    for key, document in ours.items():
        if key[0] == "ConfigMap":
            continue
        for of_pods in (document, charts[key]):
            for claim in of_pods["spec"].get("volumeClaimTemplates", []):
                claim["metadata"].pop("labels", None)
        assert document == charts[key], f"kustomize and Helm differ in {key}:\n{document}\n{charts[key]}"


# ---- containers, as their pods say ----


class Pods:
    """Containers in this program's own namespaces of mounts and network; what they run is their own process."""

    def __init__(self, work, documents, secrets):
        self.work, self.documents, self.secrets = work, documents, secrets
        self.running = []

    def source(self, spec, name):
        """The folder that a volume of a pod is."""
        place = self.work / "volumes" / name
        volume = next((it for it in spec["volumes"] if it["name"] == name), {})
        place.mkdir(parents=True, exist_ok=True)
        files = {}
        if "configMap" in volume:
            files = self.documents["ConfigMap", volume["configMap"]["name"]]["data"]
        elif "secret" in volume:
            files = self.secrets[volume["secret"]["secretName"]]
        elif "hostPath" not in volume:
            # A claim: the kubelet gives it to the group of the pod.
            os.chown(place, 0, spec["securityContext"]["fsGroup"])
            place.chmod(0o2775)
        for file, text in files.items():
            (place / file).write_text(text)
        return place

    def root(self, spec, container):
        """The image from scratch, with the pod's volumes."""
        root = Path(tempfile.mkdtemp(dir=self.work))
        root.chmod(0o755)
        program = container["image"].split(":")[0]
        # What is not static needs its libraries, which the image has not.
        folders = {"/proc": "/proc", "/dev": "/dev"}
        if "static" not in subprocess.run(["file", "-b", PROGRAMS[program]], capture_output=True, text=True).stdout:
            folders |= {place: place for place in ("/lib", "/lib64", "/usr/lib") if Path(place).exists()}
        for mount in container["volumeMounts"]:
            folders[mount["mountPath"]] = str(self.source(spec, mount["name"]))
        (root / "usr/bin").mkdir(parents=True)
        shutil.copy(PROGRAMS[program], root / "usr/bin" / program)
        (root / "etc").mkdir()
        (root / "etc/hosts").write_text("127.0.0.1 localhost why502.why502.svc\n")
        for place in folders:
            (root / place[1:]).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", root, root], check=True)
        if container["securityContext"]["readOnlyRootFilesystem"]:
            subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
        for place, source in folders.items():
            subprocess.run(["mount", "--rbind", source, f"{root}{place}"], check=True)
        return root, f"/usr/bin/{program}"

    def environment(self, container):
        known = {}
        for variable in container.get("env", []):
            secret = variable.get("valueFrom", {}).get("secretKeyRef")
            known[variable["name"]] = self.secrets[secret["name"]][secret["key"]] if secret else variable["value"]
        return known

    def start(self, spec, container, arguments=None, **how):
        root, program = self.root(spec, container)
        environment = self.environment(container)
        arguments = arguments or container["args"]
        for name, value in environment.items():
            arguments = [it.replace(f"$({name})", value) for it in arguments]
        context = spec["securityContext"] | container["securityContext"]
        command = [program, *arguments]
        process = subprocess.Popen(command, env=environment, preexec_fn=lambda: contain(root, context), **how)
        self.running.append(process)
        return process

    def run(self, spec, container, arguments=None):
        process = self.start(spec, container, arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, told = process.communicate(timeout=60)
        return process.returncode, out, told


def contain(root, context):
    """In the new process: the pod's root, user and capabilities."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.chroot(root)
    os.chdir("/")
    kept = [CAPABILITIES[it] for it in context["capabilities"].get("add", [])]
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        assert capability in kept or libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0
    user = context.get("runAsUser", 0)
    os.setgroups([context["fsGroup"]] if "fsGroup" in context else [])
    os.setgid(context.get("runAsGroup", user))
    os.setuid(user)
    assert not (context.get("runAsNonRoot") and user == 0)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, int(not context["allowPrivilegeEscalation"]), 0, 0, 0) == 0


def until(what, holds):
    deadline = time.monotonic() + 30
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within 30 s: {what}"
        time.sleep(0.1)
    return found


def answers(probe, ports):
    """Asks as the kubelet does, which trusts any certificate."""
    get = probe["httpGet"]
    port = next(it["containerPort"] for it in ports if it["name"] == get["port"])
    anybody = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(f"{get['scheme'].lower()}://127.0.0.1:{port}{get['path']}", context=anybody) as answer:
            return answer.status == 200
    except OSError:
        return False


def played(documents, work):
    """A collector, a token in a Secret, a node that enrols, and its next pod when the token is used up."""
    collector = documents["StatefulSet", "why502"]["spec"]["template"]["spec"]
    # What a StatefulSet claims is a volume of its pods.
    collector["volumes"] += [{"name": it["metadata"]["name"]} for it in documents["StatefulSet", "why502"]["spec"]["volumeClaimTemplates"]]
    agent = documents["DaemonSet", "why502-agent"]["spec"]["template"]["spec"]
    secrets = {}
    pods = Pods(work, documents, secrets)
    try:
        serve, enrol, watch = collector["containers"][0], agent["initContainers"][0], agent["containers"][0]
        log = open(work / "log", "w")
        pods.start(collector, serve, stderr=log)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            until(f"{probe} is answered", lambda: answers(serve[probe], serve["ports"]))

        def ask(*arguments):
            code, out, told = pods.run(collector, serve, [*arguments, "--json"])
            assert code == 0, told
            return json.loads(out)

        made = ask("token", "create", "--pattern", "*", "--uses", "1")
        secrets["why502-enrolment"] = {"token": made["token"], "ca-pin": made["ca_pin"]}
        assert f"--collector={made['collector']}" in enrol["args"], (made["collector"], enrol["args"])
        for said in ("is enrolled, its identity", "is enrolled already"):
            code, out, told = pods.run(agent, enrol)
            assert code == 0 and said in out, (out, told)
        pods.start(agent, watch, stderr=log)
        until("the node reports", lambda: ask("status")["hosts"]["up"] == 1)
        doors = ask("status")["doors"]
        assert (doors["ingest"], doors["api"], doors["exposed"]) == ("tls", "tls", []), doors
    except AssertionError:
        print((work / "log").read_text(), file=sys.stderr)
        raise
    finally:
        for process in pods.running:
            process.kill()
            process.wait()


def main():
    if "--inside" not in sys.argv:
        # What is mounted, and whoever listens, goes with the namespaces.
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
        with tempfile.TemporaryDirectory() as work:
            sys.exit(subprocess.run([*apart, sys.executable, __file__, "--inside", work]).returncode)
    work = Path(sys.argv[-1])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", work], check=True)
    ours, charts = kustomized(), charted()
    held_against_schemas(ours + charts)
    the_same(by_name(ours), by_name(charts))
    for name, documents in (("kustomize", ours), ("helm", charts)):
        (work / name).mkdir()
        played(by_name(documents), work / name)
    print(f"kubernetes: {len(ours)} objects of kustomize and {len(charts)} of Helm hold and say the same; with each a node enrolled and reports")


main()
