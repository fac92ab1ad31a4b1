package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKubectl types every verb of stock kubectl at one cluster with real pods.
func TestKubectl(t *testing.T) {
	p := newCluster(t)
	p.EventuallySays(" Ready ", time.Minute, "get", "nodes")
	kubectlVerbs(t, p)
	p.unharmed(t)
}

func kubectlVerbs(t *testing.T, p *Proa) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *Proa)
	}{
		{"apply", verbApply}, {"apply server side", verbServerSide}, {"get", verbGet}, {"describe", verbDescribe},
		{"edit", verbEdit}, {"patch", verbPatch}, {"label and annotate", verbLabel}, {"replace", verbReplace},
		{"dry run and diff", verbDryRun}, {"rollout", verbRollout}, {"delete", verbDelete}, {"wait and watch", verbWatch},
		{"explain", verbExplain}, {"discovery", verbDiscovery}, {"logs", verbLogs}, {"exec and attach", verbExec},
		{"cp", verbCopy}, {"port-forward", verbPortForward}, {"proxy", verbProxy}, {"run and expose", verbRun},
		{"debug", verbDebug}, {"events", verbEvents}, {"auth", verbAuth}, {"certificate", verbCertificate},
		{"create token", verbToken}, {"nodes", verbNodes}, {"create", verbCreate}, {"proa kubectl", verbOwn},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, p.In(t)) })
	}
}

// says runs kubectl and wants every one of the texts in its output.
func (p *Proa) says(args []string, wants ...string) string {
	p.t.Helper()
	out := p.Kubectl(args...)
	for _, want := range wants {
		if !strings.Contains(out, want) {
			p.t.Errorf("kubectl %s: no %q in:\n%s", strings.Join(args, " "), want, out)
		}
	}
	return out
}

// refuses runs kubectl, which has to fail and say every one of the texts.
func (p *Proa) refuses(args []string, wants ...string) {
	p.t.Helper()
	out, err := p.TryKubectl(args...)
	if err == nil {
		p.t.Errorf("kubectl %s: want an error:\n%s", strings.Join(args, " "), out)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			p.t.Errorf("kubectl %s: no %q in:\n%s", strings.Join(args, " "), want, out)
		}
	}
}

// feed is Kubectl with standard input.
func (p *Proa) feed(stdin string, args ...string) string {
	p.t.Helper()
	out, err := p.tryFeed(stdin, args...)
	if err != nil {
		p.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (p *Proa) tryFeed(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := p.Command(ctx, append([]string{bin("tools/kubectl")}, args...)...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// background starts a command that runs until the test ends; its output grows in the result.
func (p *Proa) background(env []string, args ...string) *output {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := p.Command(ctx, args...)
	c.Env = append(c.Env, env...)
	o := &output{ready: make(chan struct{})}
	w := &lockedWriter{o}
	c.Stdout, c.Stderr = w, w
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { cancel(); _ = c.Wait() })
	return o
}

type lockedWriter struct{ o *output }

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	return w.o.text.Write(b)
}

// eventually waits until the output has the text.
func (o *output) eventually(t *testing.T, want string, within time.Duration) {
	t.Helper()
	Eventually(t, within, func() error {
		if out := o.String(); !strings.Contains(out, want) {
			return fmt.Errorf("no %q in:\n%s", want, out)
		}
		return nil
	})
}

// unharmed wants neither a panic nor an answer of 500 in the log of the server.
func (p *Proa) unharmed(t *testing.T) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(p.data(), "logs", "proa.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(log), "\n") {
		low := strings.ToLower(line)
		if strings.Contains(low, "panic") || strings.Contains(low, "resp=500") || strings.Contains(low, "status=500") {
			t.Errorf("log of proa: %s", line)
		}
	}
	for _, line := range strings.Split(p.In(t).Kubectl("get", "--raw", "/metrics"), "\n") {
		// Health answers 500 while the server starts.
		if strings.HasPrefix(line, "apiserver_request_total{") && strings.Contains(line, `code="500"`) && !strings.Contains(line, "z\"") {
			t.Errorf("an answer of 500: %s", line)
		}
	}
}

func words(s string) []string { return strings.Fields(s) }

func verbApply(t *testing.T, p *Proa) {
	if out := p.feed(webapp, "apply", "-f", "-"); !strings.Contains(out, "deployment.apps/web created") {
		t.Errorf("apply: %s", out)
	}
	p.Apply(toolbox)
	if out := p.feed(webapp, "apply", "-f", "-"); !strings.Contains(out, "deployment.apps/web unchanged") || !strings.Contains(out, "service/web unchanged") {
		t.Errorf("apply again: %s", out)
	}
	changed := strings.Replace(webapp, "hello from the config map", "changed", 1)
	if out := p.feed(changed, "apply", "-f", "-"); !strings.Contains(out, "configmap/web configured") {
		t.Errorf("apply a change: %s", out)
	}
	p.says(words("get configmap web -o jsonpath={.data.GREETING}"), "changed")
	p.feed(webapp, "apply", "-f", "-")
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s")
	p.Kubectl("wait", "--for=condition=Ready", "pod/toolbox", "--timeout=60s")
	p.says(words("apply view-last-applied configmap web"), "GREETING: hello from the config map")

	out, err := p.tryFeed("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\ndta: {a: b}\n", "apply", "-f", "-")
	if err == nil || !strings.Contains(out, `unknown field "dta"`) {
		t.Errorf("apply with an unknown field: %v: %s", err, out)
	}
	out, err = p.tryFeed("apiVersion: v1\nkind: [", "apply", "-f", "-")
	if err == nil || !strings.Contains(out, "yaml") {
		t.Errorf("apply of what is no YAML: %v: %s", err, out)
	}
	out, err = p.tryFeed("apiVersion: v1\nkind: Nonsense\nmetadata: {name: odd}\n", "apply", "-f", "-")
	if err == nil || !strings.Contains(out, `no matches for kind "Nonsense"`) {
		t.Errorf("apply of an unknown kind: %v: %s", err, out)
	}
	two := func(second string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keep, labels: {set: one}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + second + ", labels: {set: one}}\n"
	}
	p.feed(two("drop"), "apply", "-f", "-")
	if out := p.feed(two("stay"), "apply", "--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap", "-f", "-"); !strings.Contains(out, "configmap/drop pruned") {
		t.Errorf("prune: %s", out)
	}
}

func verbServerSide(t *testing.T, p *Proa) {
	cm := func(v string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned}\ndata: {a: " + v + "}\n"
	}
	if out := p.feed(cm("one"), "apply", "--server-side", "--field-manager=first", "-f", "-"); !strings.Contains(out, "configmap/owned serverside-applied") {
		t.Errorf("server-side apply: %s", out)
	}
	out, err := p.tryFeed(cm("two"), "apply", "--server-side", "--field-manager=second", "-f", "-")
	if err == nil || !strings.Contains(out, `Apply failed with 1 conflict: conflict with "first": .data.a`) {
		t.Errorf("conflict: %v: %s", err, out)
	}
	p.feed(cm("two"), "apply", "--server-side", "--field-manager=second", "--force-conflicts", "-f", "-")
	p.says(words("get configmap owned -o jsonpath={.data.a}/{.metadata.managedFields[*].manager}"), "two/second")
	// A manager that gives a field up and is its last owner removes it.
	p.feed("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned}\ndata: {b: x}\n", "apply", "--server-side", "--field-manager=second", "-f", "-")
	p.says(words("get configmap owned -o jsonpath={.data}"), `{"b":"x"}`)
	p.feed(webapp, "apply", "--server-side", "--force-conflicts", "-f", "-")
}

func verbGet(_ *testing.T, p *Proa) {
	p.says(words("get pods"), "NAME", "READY", "STATUS", "RESTARTS", "AGE", "toolbox", "1/1", "Running")
	p.says(words("get pods -o wide"), "IP", "NODE", "NOMINATED NODE", "READINESS GATES", p.Name)
	p.says(words("get nodes -o wide"), "INTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME", "containerd://", p.Address)
	p.says(words("get deployments -o wide"), "UP-TO-DATE", "AVAILABLE", "CONTAINERS", "IMAGES", "SELECTOR", "3/3", "app=web")
	p.says(words("get replicasets"), "DESIRED", "CURRENT", "READY")
	p.says(words("get service web -o wide"), "CLUSTER-IP", "EXTERNAL-IP", "80:30080/TCP", "app=web")
	p.says(words("get endpointslices"), "ADDRESSTYPE", "PORTS", "ENDPOINTS", "8080")
	p.says(words("get namespaces"), "STATUS", "Active", "kube-system")
	p.says(words("get leases -A"), "HOLDER", "kube-node-lease")
	p.says(words("get pod toolbox -o yaml"), "apiVersion: v1", "kind: Pod", "uid:", "phase: Running")
	p.says(words("get pod toolbox -o json"), `"apiVersion": "v1"`, `"kind": "Pod"`)
	p.says(words("get pods,services -o name"), "pod/toolbox", "service/web")
	p.says(words("get pod toolbox -o jsonpath={.spec.containers[0].image}"), "proa.local/toolbox:1.0")
	p.says(words("get pods -o custom-columns=N:.metadata.name,P:.status.phase"), "N ", "P", "toolbox", "Running")
	p.says([]string{"get", "pods", "-o", "go-template={{range .items}}{{.metadata.name}} {{end}}"}, "toolbox ")
	p.says(words("get pods -l app=toolbox -o name"), "pod/toolbox\n")
	p.says(words("get pods --field-selector=status.phase=Running,metadata.name=toolbox -o name"), "pod/toolbox\n")
	p.says(words("get pods --sort-by=.metadata.name --show-labels"), "LABELS", "app=toolbox")
	p.says(words("get pods -L app"), "APP", "toolbox")
	p.says(words("get all"), "pod/toolbox", "service/web", "deployment.apps/web", "replicaset.apps/web-")
	p.says(words("get secret web -o jsonpath={.data.token}"), "czNjcmV0")
	p.says(words("get deployment web --subresource=scale -o jsonpath={.spec.replicas}/{.status.selector}"), "3/app=web")
	p.says(words("get deployment web --subresource=status -o jsonpath={.status.readyReplicas}"), "3")
	p.says(words("get pods --chunk-size=1 -o name"), "pod/toolbox")
	p.refuses(words("get pod absent"), `Error from server (NotFound): pods "absent" not found`)
	p.says(words("get pod absent --ignore-not-found"))
	p.refuses(words("get nonsense"), `the server doesn't have a resource type "nonsense"`)
	p.says(words("get pods -n absent"), "No resources found in absent namespace.")
}

func verbDescribe(_ *testing.T, p *Proa) {
	p.says(words("describe pod toolbox"), "Name:             toolbox", "Service Account:  default", "Container ID:  containerd://",
		"QoS Class:                   BestEffort", "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s", "Scheduled", "Pulled", "Created", "Started",
		"kube-api-access-", "Successfully assigned default/toolbox to "+p.Name)
	p.says([]string{"describe", "node", p.Name}, "Conditions:", "MemoryPressure", "KubeletReady", "Capacity:", "Allocatable:", "Non-terminated Pods:", "Allocated resources:", "PodCIDR:", "Lease:")
	p.says(words("describe deployment web"), "Replicas:               3 desired | 3 updated | 3 total | 3 available | 0 unavailable", "RollingUpdateStrategy:  25% max unavailable, 25% max surge", "NewReplicaSet:   web-", "ScalingReplicaSet", "Scaled up replica set web-")
	p.says(words("describe service web"), "Endpoints:", ":8080", "NodePort:                 <unset>  30080/TCP", "Session Affinity:         None")
	p.says(words("describe secret web"), "token:  6 bytes")
	p.says(words("describe configmap web"), "GREETING:")
	p.says(words("describe namespace default"), "Status:       Active")
	p.says(words("describe replicaset -l app=web"), "Controlled By:  Deployment/web", "SuccessfulCreate")
	p.says(words("describe endpointslice -l kubernetes.io/service-name=web"), "AddressType:  IPv4", "Conditions:", "Ready:")
	p.says(words("describe clusterrole view"), "PolicyRule:")
}

func verbEdit(t *testing.T, p *Proa) {
	p.Kubectl("create", "configmap", "edited", "--from-literal=key=old")
	c := p.Command(context.Background(), bin("tools/kubectl"), "edit", "configmap", "edited")
	c.Env = append(c.Env, "KUBE_EDITOR=sed -i s/old/new/")
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "configmap/edited edited") {
		t.Errorf("edit: %v: %s", err, out)
	}
	p.says(words("get configmap edited -o jsonpath={.data.key}"), "new")
	c = p.Command(context.Background(), bin("tools/kubectl"), "edit", "deployment", "web", "--subresource=status")
	c.Env = append(c.Env, "KUBE_EDITOR=true")
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "Edit cancelled, no changes made") {
		t.Errorf("edit without a change: %v: %s", err, out)
	}
}

func verbPatch(_ *testing.T, p *Proa) {
	p.Kubectl("create", "deployment", "patched", "--image=proa.local/webapp:1.0", "--replicas=0")
	p.says([]string{"patch", "deployment", "patched", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"webapp","env":[{"name":"A","value":"1"}]}]}}}}`}, "deployment.apps/patched patched")
	p.says(words("get deployment patched -o jsonpath={.spec.template.spec.containers[0].image},{.spec.template.spec.containers[0].env}"), `proa.local/webapp:1.0,[{"name":"A","value":"1"}]`)
	p.says([]string{"patch", "deployment", "patched", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"webapp","env":[{"name":"A","$patch":"delete"},{"name":"B","value":"2"}]}]}}}}`}, "patched")
	p.says(words("get deployment patched -o jsonpath={.spec.template.spec.containers[0].env}"), `[{"name":"B","value":"2"}]`)
	p.Kubectl("patch", "deployment", "patched", "--type=merge", "-p", `{"metadata":{"labels":{"app":null,"new":"label"}}}`)
	p.says(words("get deployment patched -o jsonpath={.metadata.labels}"), `{"new":"label"}`)
	p.Kubectl("patch", "deployment", "patched", "--type=json", "-p", `[{"op":"test","path":"/spec/replicas","value":0},{"op":"replace","path":"/spec/paused","value":true}]`)
	p.says(words("get deployment patched -o jsonpath={.spec.paused}"), "true")
	p.says([]string{"patch", "deployment", "patched", "-p", `{"spec":{"paused":true}}`}, "patched (no change)")
	p.refuses([]string{"patch", "deployment", "patched", "--type=json", "-p", `[{"op":"test","path":"/spec/replicas","value":5}]`}, "The request is invalid")
	p.refuses([]string{"patch", "deployment", "patched", "-p", `{"spec":{"selector":{"matchLabels":{"x":"y"}}}}`}, `The Deployment "patched" is invalid`, "spec.selector", "field is immutable")
	p.Kubectl("patch", "deployment", "patched", "--subresource=scale", "--type=merge", "-p", `{"spec":{"replicas":0}}`)
	p.Kubectl("delete", "deployment", "patched")
}

func verbLabel(_ *testing.T, p *Proa) {
	p.says(words("label pod toolbox tier=tools"), "pod/toolbox labeled")
	p.refuses(words("label pod toolbox tier=other"), "--overwrite is false")
	p.says(words("label pod toolbox tier=other --overwrite"), "pod/toolbox labeled")
	p.says(words("get pods -l tier=other -o name"), "pod/toolbox")
	p.says(words("label pod toolbox tier-"), "pod/toolbox unlabeled")
	p.says(words("annotate pod toolbox note=x"), "pod/toolbox annotated")
	p.says(words("get pod toolbox -o jsonpath={.metadata.annotations.note}"), "x")
	p.says(words("annotate pod toolbox note-"), "pod/toolbox annotated")
	p.refuses(words("label pod toolbox tier=-bad-"), "a valid label must be an empty string")
}

func verbReplace(t *testing.T, p *Proa) {
	cm := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: replaced}\ndata: {a: %s}\n"
	p.feed(fmt.Sprintf(cm, "one"), "create", "-f", "-")
	if out, err := p.tryFeed(fmt.Sprintf(cm, "one"), "create", "-f", "-"); err == nil || !strings.Contains(out, `Error from server (AlreadyExists)`) || !strings.Contains(out, `configmaps "replaced" already exists`) {
		t.Errorf("create twice: %v: %s", err, out)
	}
	p.feed(fmt.Sprintf(cm, "two"), "replace", "-f", "-")
	uid := p.Kubectl("get", "configmap", "replaced", "-o", "jsonpath={.metadata.uid}")
	p.feed(fmt.Sprintf(cm, "three"), "replace", "--force", "-f", "-")
	if p.says(words("get configmap replaced -o jsonpath={.metadata.uid}")) == uid {
		t.Error("replace --force kept the object")
	}
	p.says(words("get configmap replaced -o jsonpath={.data.a}"), "three")
}

func verbDryRun(t *testing.T, p *Proa) {
	p.says(words("create configmap dry --from-literal=a=b --dry-run=server"), "configmap/dry created (server dry run)")
	p.refuses(words("get configmap dry"), "NotFound")
	p.says(words("create configmap dry --dry-run=client -o yaml"), "name: dry")
	p.says(words("delete pod toolbox --dry-run=server"), "deleted", "(server dry run)")
	p.says(words("scale deployment/web --replicas=9 --dry-run=server"), "scaled (server dry run)")
	p.says(words("get pod toolbox -o jsonpath={.metadata.deletionTimestamp}/{.status.phase}"), "/Running")
	if out := p.feed("apiVersion: v1\nkind: Service\nmetadata: {name: dry}\nspec: {ports: [{port: 80}], selector: {a: b}}\n", "apply", "--dry-run=server", "-o", "yaml", "-f", "-"); !strings.Contains(out, "sessionAffinity: None") {
		t.Errorf("a dry run has no defaults: %s", out)
	}
	out, err := p.tryFeed(strings.Replace(webapp, "replicas: 3", "replicas: 4", 1), "diff", "--server-side", "--force-conflicts", "-f", "-")
	var exit *exec.ExitError
	if !asExit(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "-  replicas: 3") || !strings.Contains(out, "+  replicas: 4") {
		t.Errorf("diff: %v: %s", err, out)
	}
}

func asExit(err error, target **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*target = e
	return ok
}

func verbRollout(_ *testing.T, p *Proa) {
	status := func() { p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s") }
	p.says(words("scale deployment/web --replicas=2"), "deployment.apps/web scaled")
	status()
	p.refuses(words("scale deployment/web --replicas=1 --current-replicas=7"), "Expected replicas to be 7, was 2")
	p.says(words("get deployment web"), "2/2")
	p.Kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=first")
	p.says(words("set env deployment/web GREETING=second"), "deployment.apps/web env updated")
	status()
	p.says(words("rollout history deployment/web"), "REVISION", "CHANGE-CAUSE", "first")
	p.says(words("rollout history deployment/web --revision=2"), "GREETING:\tsecond")
	p.says(words("rollout undo deployment/web --to-revision=1"), "rolled back")
	status()
	p.says(words("rollout pause deployment/web"), "paused")
	p.Kubectl("set", "resources", "deployment/web", "--limits=memory=64Mi")
	p.says(words("get deployment web -o jsonpath={.status.updatedReplicas}"), "")
	p.refuses(words("rollout undo deployment/web"), "cannot rollback a paused deployment")
	p.says(words("rollout resume deployment/web"), "resumed")
	status()
	p.says(words("rollout restart deployment/web"), "restarted")
	status()
	p.says(words("set image deployment/web web=proa.local/absent:1.0"), "image updated")
	p.refuses(words("rollout status deployment/web --timeout=2s"), "timed out waiting for the condition")
	p.says(words("rollout undo deployment/web"), "rolled back")
	status()
	p.Kubectl("set", "serviceaccount", "deployment/web", "default")
	p.Kubectl("set", "selector", "service/web", "app=web")
	status()
	p.feed(`
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec:
  selector: {matchLabels: {app: each}}
  template:
    metadata: {labels: {app: each}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: proa.local/webapp:1.0}]}
`, "apply", "-f", "-")
	p.says(words("rollout status daemonset/each --timeout=60s"), "successfully rolled out")
	p.Kubectl("set", "env", "daemonset/each", "A=b")
	p.Kubectl("rollout", "status", "daemonset/each", "--timeout=60s")
	p.says(words("rollout history daemonset/each"), "REVISION", "2")
	p.Kubectl("rollout", "undo", "daemonset/each")
	p.Kubectl("rollout", "status", "daemonset/each", "--timeout=60s")
	p.says(words("get daemonset each"), "DESIRED", "NODE SELECTOR")
	p.Kubectl("delete", "daemonset", "each", "--timeout=60s")
}

func verbDelete(t *testing.T, p *Proa) {
	count := func(kind, app string) int {
		return len(strings.Fields(p.Kubectl("get", kind, "-l", "app="+app, "-o", "name")))
	}
	gone := func(kind, app string) {
		t.Helper()
		Eventually(t, 40*time.Second, func() error {
			if n := count(kind, app); n != 0 {
				return fmt.Errorf("%d %s of %s", n, kind, app)
			}
			return nil
		})
	}
	for _, cascade := range []string{"background", "foreground", "orphan"} {
		app := "del-" + cascade
		p.Kubectl("create", "deployment", app, "--image=proa.local/webapp:1.0")
		p.Kubectl("rollout", "status", "deployment/"+app, "--timeout=60s")
		p.says(words("delete deployment "+app+" --timeout=60s --cascade="+cascade), "deleted")
		if cascade == "foreground" && count("replicasets", app) != 0 {
			t.Error("foreground: the deployment went before its replica set")
		}
		if cascade != "orphan" {
			gone("pods,replicasets", app)
			continue
		}
		if n := count("replicasets", app); n != 1 {
			t.Errorf("orphan: %d replica sets", n)
		}
		Eventually(t, 10*time.Second, func() error {
			if out := p.Kubectl("get", "replicasets", "-l", "app="+app, "-o", "jsonpath={.items[0].metadata.ownerReferences}"); out != "" {
				return fmt.Errorf("orphan: owners %s", out)
			}
			return nil
		})
		p.Kubectl("delete", "replicasets", "-l", "app="+app)
		gone("pods,replicasets", app)
	}
	// A pod that does not heed SIGTERM.
	stubborn := func(name string) {
		p.Apply(strings.NewReplacer("name: toolbox, labels", "name: "+name+", labels", `trap "exit 0" TERM;`, `trap "" TERM;`,
			"terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 100", "app: toolbox", "app: stubborn").Replace(toolbox))
		p.Kubectl("wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
	}
	stubborn("grace")
	start := time.Now()
	p.Kubectl("delete", "pod", "grace", "--grace-period=2")
	if took := time.Since(start); took < 1500*time.Millisecond || took > 15*time.Second {
		t.Errorf("a grace period of 2s took %s", took)
	}
	stubborn("force")
	p.says(words("delete pod force --force --grace-period=0"), "Immediate deletion does not wait", "force deleted")
	p.refuses(words("get pod force"), "NotFound")
	stubborn("now")
	start = time.Now()
	p.Kubectl("delete", "pod", "now", "--now")
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("--now took %s", took)
	}
	p.refuses(words("delete pod absent"), "NotFound")
	p.Kubectl("create", "configmap", "several-1")
	p.Kubectl("create", "configmap", "several-2")
	p.Kubectl("label", "configmap", "several-1", "several-2", "set=several")
	p.says(words("delete configmap -l set=several"), "several-1", "several-2")
}

func verbWatch(t *testing.T, p *Proa) {
	watch := p.background(nil, bin("tools/kubectl"), "get", "configmaps", "-w", "--output-watch-events")
	watch.eventually(t, "kube-root-ca.crt", 20*time.Second)
	p.Kubectl("create", "configmap", "watched")
	watch.eventually(t, "ADDED      watched", 20*time.Second)
	p.Kubectl("patch", "configmap", "watched", "-p", `{"data":{"a":"b"}}`)
	watch.eventually(t, "MODIFIED   watched", 20*time.Second)
	waiting := p.background(nil, bin("tools/kubectl"), "wait", "--for=delete", "configmap/watched", "--timeout=30s")
	waiting2 := p.background(nil, bin("tools/kubectl"), "wait", "--for=jsonpath={.data.a}=c", "configmap/watched", "--timeout=30s")
	p.Kubectl("patch", "configmap", "watched", "-p", `{"data":{"a":"c"}}`)
	waiting2.eventually(t, "condition met", 20*time.Second)
	p.Kubectl("delete", "configmap", "watched")
	watch.eventually(t, "DELETED    watched", 20*time.Second)
	waiting.eventually(t, "condition met", 20*time.Second)
	p.says(words("wait --for=condition=Available deployment/web --timeout=30s"), "condition met")
	p.says(words("wait --for=create configmap/kube-root-ca.crt --timeout=30s"), "condition met")
	p.refuses(words("wait --for=condition=Nonsense pod/toolbox --timeout=1s"), "timed out")
}

func verbExplain(_ *testing.T, p *Proa) {
	p.says(words("explain pod"), "KIND:       Pod", "VERSION:    v1", "FIELDS:", "spec\t<PodSpec>")
	p.says(words("explain pod.spec.containers.livenessProbe.httpGet.port"), "FIELD: port <IntOrString>")
	p.says(words("explain deployment --recursive"), "GROUP:      apps", "maxSurge", "topologySpreadConstraints")
	p.says(words("explain deployment.spec.strategy.type"), "ENUM:", "Recreate", "RollingUpdate")
	p.says(words("explain --output=plaintext-openapiv2 configmap.data"), "map[string]string")
	p.refuses(words("explain pod.nonsense"), `field "nonsense" does not exist`)
}

func verbDiscovery(_ *testing.T, p *Proa) {
	p.says(words("api-resources"), "NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "configmaps", "cm", "deployments", "deploy", "customresourcedefinitions", "apiservices")
	p.says(words("api-resources --api-group=apps -o wide"), "VERBS", "create,delete,deletecollection,get,list,patch,update,watch", "all")
	p.says(words("api-resources --namespaced=false -o name"), "nodes", "clusterroles.rbac.authorization.k8s.io")
	p.says(words("api-versions"), "v1\n", "apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1", "apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "events.k8s.io/v1", "certificates.k8s.io/v1", "scheduling.k8s.io/v1")
	p.says(words("version"), "Server Version: v1.37.2")
	p.says(words("cluster-info"), "Kubernetes control plane", "is running at https://")
	p.says([]string{"get", "--raw", "/readyz?verbose"}, "[+]ping ok", "[+]etcd ok", "readyz check passed")
	p.says([]string{"get", "--raw", "/livez?verbose"}, "livez check passed")
	p.says(words("get --raw /version"), `"gitVersion": "v1.37.2`)
	p.says(words("get --raw /api/v1/namespaces/default/pods/toolbox/log?tailLines=1"), "started")
	p.says([]string{"get", "--raw", "/api/v1/namespaces/default/services/web:80/proxy/readyz"}, "ok")
	p.says([]string{"get", "--raw", "/api/v1/nodes/" + p.Name + "/proxy/healthz"}, "ok")
	p.says([]string{"get", "--raw", "/api/v1/nodes/" + p.Name + "/proxy/stats/summary"}, `"nodeName"`, `"podRef"`)
	p.refuses(words("top nodes"), "Metrics API not available")
}

// talker has an init container and two containers; the second ends twice.
const talker = `
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talker}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: prepare, image: proa.local/toolbox:1.0, command: [echo, prepared]}
  containers:
  - name: counts
    image: proa.local/toolbox:1.0
    command: [sh, -c, 'i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.2; done']
  - name: ends
    image: proa.local/toolbox:1.0
    command: [sh, -c, 'if [ -f /shared/again ]; then echo second life; sleep 1000; fi; touch /shared/again; echo first life; sleep 1; exit 3']
    volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
`

func verbLogs(t *testing.T, p *Proa) {
	p.Apply(talker)
	p.EventuallySays("second life", 60*time.Second, "logs", "talker", "-c", "ends")
	p.says(words("logs talker -c ends --previous"), "first life")
	p.says(words("logs talker -c prepare"), "prepared")
	p.says(words("logs talker --all-containers --prefix --tail=1"), "[pod/talker/counts] count", "[pod/talker/ends] second life", "[pod/talker/prepare] prepared")
	p.says(words("logs talker"), `Defaulted container "counts" out of: counts, ends, prepare (init)`, "count 1\n")
	if n := len(strings.Fields(p.says(words("logs talker -c counts --tail=3")))); n != 6 {
		t.Errorf("--tail=3: %d words", n)
	}
	p.says(words("logs talker -c ends --timestamps"), "Z second life")
	p.says(words("logs talker -c counts --limit-bytes=5"), "count")
	p.says(words("logs -l app=talker -c ends"), "second life")
	p.says(words("logs deployment/web"), "")
	p.says(words("logs talker -c ends --since=1h"), "second life")
	p.refuses(words("logs talker -c absent"), "container absent is not valid for pod talker")
	p.refuses(words("logs talker -c counts --previous"), `previous terminated container "counts" in pod "talker" not found`)
	follow := p.background(nil, bin("tools/kubectl"), "logs", "-f", "talker", "-c", "counts", "--since=1s")
	follow.eventually(t, "count", 10*time.Second)
	first := follow.String()
	Eventually(t, 10*time.Second, func() error {
		if len(follow.String()) > len(first)+20 {
			return nil
		}
		return fmt.Errorf("followed only %q", follow.String())
	})
	p.Kubectl("delete", "pod", "talker")
	Eventually(t, 10*time.Second, func() error { // the stream ends with the pod
		before := follow.String()
		time.Sleep(300 * time.Millisecond)
		if before != follow.String() {
			return fmt.Errorf("still following")
		}
		return nil
	})
}

// pty runs a shell command under a terminal.
func (p *Proa) pty(stdin, command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := p.Command(ctx, "script", "-qec", "stty rows 33 cols 111; "+command, "/dev/null")
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

func verbExec(t *testing.T, p *Proa) {
	p.says(words("exec toolbox -- hostname"), "toolbox\n")
	p.says(words("exec toolbox -c toolbox -- id -u"), "0\n")
	p.says(words("exec deployment/web -- /webapp version"), "")
	if out := p.feed("typed", "exec", "-i", "toolbox", "--", "cat"); out != "typed" {
		t.Errorf("exec -i: %q", out)
	}
	out, err := p.pty("", bin("tools/kubectl")+` exec -it toolbox -- sh -c 'test -t 0 && test -t 1 && echo "a terminal"; sleep 0.3; stty size'`)
	if err != nil || !strings.Contains(out, "a terminal") || !strings.Contains(out, "33 111") {
		t.Errorf("exec -it: %v: %s", err, out)
	}
	out, err = p.TryKubectl("exec", "toolbox", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
	var exit *exec.ExitError
	if !asExit(err, &exit) || exit.ExitCode() != 42 || !strings.Contains(out, "out\n") || !strings.Contains(out, "err\n") {
		t.Errorf("exit code: %v: %s", err, out)
	}
	p.refuses(words("exec toolbox -- no-such-program"), "no-such-program")
	p.refuses(words("exec toolbox -c absent -- ls"), "absent")
	big := p.Kubectl("exec", "toolbox", "--", "sh", "-c", "yes 0123456789 | head -c 3000000")
	if len(big) != 3000000 {
		t.Errorf("exec: %d bytes of 3000000", len(big))
	}
	p.Apply(`
apiVersion: v1
kind: Pod
metadata: {name: listens}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: cat, image: proa.local/toolbox:1.0, stdin: true, stdinOnce: true, command: [sh, -c, 'while read line; do echo "heard $line"; done; echo end of input']}]
`)
	p.Kubectl("wait", "--for=condition=Ready", "pod/listens", "--timeout=60s")
	if out := p.feed("hello\n", "attach", "-i", "listens"); !strings.Contains(out, "heard hello") {
		t.Errorf("attach: %q", out)
	}
	p.EventuallySays("end of input", 10*time.Second, "logs", "listens")
	p.Kubectl("delete", "pod", "listens", "--now")
}

func verbCopy(t *testing.T, p *Proa) {
	dir := filepath.Join(p.Dir, "tree")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("some data\n"), 100000)
	if err := os.WriteFile(filepath.Join(dir, "sub", "big"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	p.Kubectl("cp", dir, "toolbox:/tmp/tree")
	p.says(words("exec toolbox -- wc -c /tmp/tree/sub/big"), "1000000")
	p.Kubectl("cp", "toolbox:/tmp/tree", filepath.Join(p.Dir, "back"))
	back, err := os.ReadFile(filepath.Join(p.Dir, "back", "sub", "big"))
	if err != nil || !bytes.Equal(back, data) {
		t.Errorf("cp from the pod: %v: %d bytes", err, len(back))
	}
}

func verbPortForward(t *testing.T, p *Proa) {
	for i, target := range []string{"pod", "service/web", "deployment/web"} {
		remote := "8080"
		if target == "service/web" {
			remote = "80"
		}
		if target == "pod" {
			target = strings.Fields(p.Kubectl("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name"))[0]
		}
		local := fmt.Sprint(18080 + i)
		forward := p.background(nil, bin("tools/kubectl"), "port-forward", target, local+":"+remote)
		forward.eventually(t, "Forwarding from 127.0.0.1:"+local, 20*time.Second)
		for range 3 {
			if out, err := p.Try(bin("images/programs/webapp"), "get", "http://127.0.0.1:"+local+"/"); err != nil || !strings.Contains(out, "hello from the config map") {
				t.Errorf("port-forward %s: %v: %s\n%s", target, err, out, forward.String())
			}
		}
	}
	forward := p.background(nil, bin("tools/kubectl"), "port-forward", "pod/toolbox", "18090:9")
	forward.eventually(t, "Forwarding from 127.0.0.1:18090", 20*time.Second)
	if out, err := p.Try(bin("images/programs/webapp"), "get", "http://127.0.0.1:18090/"); err == nil {
		t.Errorf("a closed port answers: %s", out)
	}
	forward.eventually(t, "refused", 10*time.Second)
}

func verbProxy(t *testing.T, p *Proa) {
	proxy := p.background(nil, bin("tools/kubectl"), "proxy", "--port=18001")
	proxy.eventually(t, "Starting to serve on 127.0.0.1:18001", 20*time.Second)
	get := func(path, want string) {
		t.Helper()
		if out, err := p.Try(bin("images/programs/webapp"), "get", "http://127.0.0.1:18001"+path); err != nil || !strings.Contains(out, want) {
			t.Errorf("proxy %s: %v: %s", path, err, out)
		}
	}
	get("/api/v1/namespaces/default/pods/toolbox", `"name":"toolbox"`)
	get("/api/v1/namespaces/default/services/web:80/proxy/", "hello from the config map")
	pod := strings.TrimPrefix(strings.Fields(p.Kubectl("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name"))[0], "pod/")
	get("/api/v1/namespaces/default/pods/"+pod+":8080/proxy/healthz", "ok")
}

func verbRun(t *testing.T, p *Proa) {
	p.says(words("run once --image=proa.local/toolbox:1.0 --restart=Never --rm -i --quiet -- echo ran"), "ran")
	p.refuses(words("get pod once"), "NotFound")
	p.says(words("run served --image=proa.local/webapp:1.0 --port=8080 --env=GREETING=served --labels=app=served --expose"), "pod/served created", "service/served created")
	p.Kubectl("wait", "--for=condition=Ready", "pod/served", "--timeout=60s")
	p.EventuallySays("served", 20*time.Second, "exec", "toolbox", "--", "webapp", "get", "http://served:8080")
	p.says(words("expose deployment web --name=exposed --port=81 --target-port=8080"), "service/exposed exposed")
	p.EventuallySays("hello from the config map", 20*time.Second, "exec", "toolbox", "--", "webapp", "get", "http://exposed:81")
	p.Kubectl("delete", "service", "served", "exposed")
	p.Kubectl("delete", "pod", "served", "--now")
	out, err := p.pty("exit\n", bin("tools/kubectl")+" run shell --image=proa.local/toolbox:1.0 --restart=Never --rm -it --overrides='{\"spec\":{\"terminationGracePeriodSeconds\":1}}' -- sh -c 'test -t 0 && echo under a terminal; sleep 1'")
	if err != nil || !strings.Contains(out, "deleted") {
		t.Errorf("run -it --rm: %v: %s", err, out)
	}
}

func verbDebug(t *testing.T, p *Proa) {
	pod := strings.Fields(p.Kubectl("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name"))[0]
	p.Kubectl("debug", pod, "--image=proa.local/toolbox:1.0", "--container=look", "--target=web", "--image-pull-policy=IfNotPresent", "--profile=general", "--", "sh", "-c", "ls /proc/1/exe -l; webapp get http://127.0.0.1:8080/healthz; sleep 1")
	p.EventuallySays("ok", 30*time.Second, "logs", pod, "-c", "look")
	p.says([]string{"get", pod, "-o", "jsonpath={.spec.ephemeralContainers[0].name}"}, "look")
	p.EventuallySays("terminated", 20*time.Second, "get", pod, "-o", "jsonpath={.status.ephemeralContainerStatuses[0].state}")
	p.says([]string{"logs", pod, "-c", "look"}, "webapp")
	p.says([]string{"describe", pod}, "Ephemeral Containers:")
	p.Kubectl("debug", "toolbox-copy-source", "--help")
	p.Kubectl("debug", "pod/toolbox", "--copy-to=copied", "--image=proa.local/toolbox:1.0", "--profile=general", "--", "sleep", "100")
	p.Kubectl("wait", "--for=condition=Ready", "pod/copied", "--timeout=30s")
	p.Kubectl("delete", "pod", "copied", "--now")
	out := p.Kubectl("debug", "node/"+p.Name, "--image=proa.local/toolbox:1.0", "--profile=general", "--", "ls", "/host/proc/1")
	if !strings.Contains(out, "Creating debugging pod node-debugger-"+p.Name) {
		t.Errorf("debug node: %s", out)
	}
	debugger := strings.Fields(strings.SplitAfter(out, "Creating debugging pod ")[1])[0]
	p.EventuallySays("Succeeded", 30*time.Second, "get", "pod", debugger, "-o", "jsonpath={.status.phase}")
	p.says([]string{"logs", debugger}, "cmdline")
	p.Kubectl("delete", "pod", debugger)
}

func verbEvents(_ *testing.T, p *Proa) {
	p.says(words("events --for pod/toolbox"), "LAST SEEN", "Scheduled", "Pulled", "Started")
	p.says(words("get events --field-selector involvedObject.name=toolbox,reason=Scheduled"), "Successfully assigned default/toolbox")
	p.says(words("get events.events.k8s.io -o wide"), "Scheduled")
	p.says(words("events --types=Normal"), "ScalingReplicaSet")
}

func verbAuth(_ *testing.T, p *Proa) {
	p.says(words("auth whoami"), "Username", "Groups", "system:authenticated", "system:masters")
	p.says(words("auth can-i create deployments"), "yes")
	p.says(words("auth can-i * *"), "yes")
	p.refuses(words("auth can-i list secrets --as=somebody"), "no")
	p.says(words("auth can-i --list --as=somebody"), "selfsubjectaccessreviews.authorization.k8s.io", "/healthz")
	p.refuses(words("get pods --as=somebody"), `Error from server (Forbidden): pods is forbidden: User "somebody" cannot list resource "pods" in API group "" in the namespace "default"`)
	p.Kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
	p.Kubectl("create", "rolebinding", "reader", "--role=reader", "--user=somebody")
	p.EventuallySays("toolbox", 10*time.Second, "get", "pods", "--as=somebody")
	p.Kubectl("create", "clusterrolebinding", "viewers", "--clusterrole=view", "--group=viewers")
	p.EventuallySays("toolbox", 10*time.Second, "get", "pods", "--as=other", "--as-group=viewers")
	p.refuses(words("get secrets --as=other --as-group=viewers"), "Forbidden")
	p.says([]string{"auth", "reconcile", "-f", p.file("role.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader, namespace: default}\nrules: [{apiGroups: [''], resources: [pods, services], verbs: [get]}]\n")}, "reconciled")
	p.refuses(words("create clusterrolebinding mine --clusterrole=cluster-admin --user=other --as=other"), `User "other" cannot create resource "clusterrolebindings"`)
}

// file writes a file in the machine's directory and returns its path.
func (p *Proa) file(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// signingRequest is a CertificateSigningRequest's manifest, and the key in PEM.
func signingRequest(t *testing.T, name, user string) (manifest, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: user, Organization: []string{"viewers"}}}, k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	request := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	return fmt.Sprintf(`
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: %s}
spec: {request: %s, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], expirationSeconds: 3600}
`, name, request), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb}))
}

func verbCertificate(t *testing.T, p *Proa) {
	manifest, key := signingRequest(t, "maria", "maria")
	p.Apply(manifest)
	p.says(words("get csr maria"), "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "Pending")
	p.says(words("certificate approve maria"), "approved")
	p.EventuallySays("Approved,Issued", 20*time.Second, "get", "csr", "maria")
	cert, err := base64.StdEncoding.DecodeString(p.Kubectl("get", "csr", "maria", "-o", "jsonpath={.status.certificate}"))
	if err != nil {
		t.Fatal(err)
	}
	p.says([]string{"auth", "whoami", "--kubeconfig", p.kubeconfigOf(string(cert), key)}, "maria", "viewers")
	manifest, _ = signingRequest(t, "denied", "eve")
	p.Apply(manifest)
	p.says(words("certificate deny denied"), "denied")
	p.EventuallySays("Denied", 10*time.Second, "get", "csr", "denied")
	p.refuses(words("certificate approve denied"), "")
}

// kubeconfigOf is a kubeconfig with this client certificate and nothing else.
func (p *Proa) kubeconfigOf(cert, key string) string {
	p.t.Helper()
	c, k := p.file("client.crt", cert), p.file("client.key", key)
	return p.file("client.kubeconfig", fmt.Sprintf(`
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s:6443", certificate-authority: %s/pki/ca.crt}}]
users: [{name: u, user: {client-certificate: %s, client-key: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, p.Address, p.data(), c, k))
}

func verbToken(t *testing.T, p *Proa) {
	p.Kubectl("create", "serviceaccount", "robot")
	token := strings.TrimSpace(p.Kubectl("create", "token", "robot", "--duration=1h"))
	config := p.file("token.kubeconfig", fmt.Sprintf(`
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s:6443", certificate-authority: %s/pki/ca.crt}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, p.Address, p.data(), token))
	p.says([]string{"auth", "whoami", "--kubeconfig", config}, "system:serviceaccount:default:robot", "system:serviceaccounts:default")
	p.Kubectl("delete", "serviceaccount", "robot")
	Eventually(t, 20*time.Second, func() error {
		if out, err := p.TryKubectl("auth", "whoami", "--kubeconfig", config); err == nil || !strings.Contains(out, "Unauthorized") && !strings.Contains(out, "provide credentials") {
			return fmt.Errorf("the token of a deleted account: %v: %s", err, out)
		}
		return nil
	})
}

func verbNodes(t *testing.T, p *Proa) {
	p.says([]string{"cordon", p.Name}, "cordoned")
	p.says(words("get nodes"), "Ready,SchedulingDisabled")
	p.Kubectl("run", "waiting", "--image=proa.local/webapp:1.0")
	p.EventuallySays("0/1 nodes are available: 1 node(s) were unschedulable.", 20*time.Second, "describe", "pod", "waiting")
	p.says([]string{"uncordon", p.Name}, "uncordoned")
	p.Kubectl("wait", "--for=condition=Ready", "pod/waiting", "--timeout=60s")
	p.says([]string{"taint", "node", p.Name, "dedicated=x:NoSchedule"}, "tainted")
	p.Kubectl("run", "tainted", "--image=proa.local/webapp:1.0")
	p.EventuallySays("0/1 nodes are available: 1 node(s) had untolerated taint(s)", 20*time.Second, "describe", "pod", "tainted")
	p.says([]string{"taint", "node", p.Name, "dedicated-"}, "untainted")
	p.Kubectl("wait", "--for=condition=Ready", "pod/tainted", "--timeout=60s")
	p.says([]string{"label", "node", p.Name, "disk=ssd"}, "labeled")
	p.Kubectl("taint", "node", p.Name, "evict=now:NoExecute")
	Eventually(t, 60*time.Second, func() error {
		if out, err := p.TryKubectl("get", "pod", "waiting"); err == nil {
			return fmt.Errorf("not evicted: %s", out)
		}
		return nil
	})
	p.Kubectl("wait", "--for=delete", "pod/toolbox", "--timeout=60s")
	p.Kubectl("taint", "node", p.Name, "evict-")
	p.Apply(toolbox)
	p.Kubectl("wait", "--for=condition=Ready", "pod/toolbox", "--timeout=60s")
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	p.refuses([]string{"drain", p.Name, "--timeout=5s"}, "cannot delete")
	p.says([]string{"drain", p.Name, "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s", "--pod-selector=app in (web,toolbox)"}, "evicting pod", "drained")
	p.Kubectl("uncordon", p.Name)
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=60s")
}

func verbCreate(_ *testing.T, p *Proa) {
	for _, args := range []string{
		"create namespace made", "create secret generic made --from-literal=a=b", "create secret docker-registry pull --docker-username=u --docker-password=p --docker-server=registry.example",
		"create service clusterip made --tcp=80:8080", "create service nodeport made-node --tcp=80:8080", "create service externalname made-ext --external-name=example.org",
		"create job made --image=proa.local/toolbox:1.0 -- echo done", "create priorityclass made --value=5", "create clusterrole made --verb=get --resource=pods",
	} {
		p.says(words(args), "created")
	}
	p.Kubectl("wait", "--for=condition=complete", "job/made", "--timeout=60s")
	p.says(words("get jobs"), "STATUS", "COMPLETIONS", "DURATION", "Complete", "1/1")
	p.says(words("logs job/made"), "done")
	p.says(words("get service made-ext"), "ExternalName", "example.org")
	p.says(words("delete job made"), "deleted")
	p.Kubectl("delete", "namespace", "made", "--timeout=60s")
	p.refuses(words("create configmap -n made x"), `namespaces "made" not found`)
}

func verbOwn(t *testing.T, p *Proa) {
	if out, err := p.Try(bin("proa"), "kubectl", "get", "nodes"); err != nil || !strings.Contains(out, p.Name) {
		t.Errorf("proa kubectl get nodes: %v: %s", err, out)
	}
	if out, err := p.Try(bin("proa"), "kubectl", "get", "pod", "absent"); err == nil || !strings.Contains(out, `pods "absent" not found`) {
		t.Errorf("proa kubectl get pod absent: %v: %s", err, out)
	}
}
