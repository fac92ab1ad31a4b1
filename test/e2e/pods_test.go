package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// podCase is a pod (or its owner) and what kubectl must come to say of it.
type podCase struct {
	name string
	// spec is what stands below "spec:" of a pod of that name, indented by two.
	spec string
	// manifest replaces the pod where another kind is wanted.
	manifest string
	says     []saying
}

// saying is a kubectl command and a text its output must come to contain.
type saying struct {
	args []string
	want string
}

func podCases() []podCase {
	get := func(name, path string) []string {
		return []string{"get", "pod", name, "-o", "jsonpath={" + path + "}"}
	}
	return []podCase{
		{name: "init-and-sidecar", spec: `
  restartPolicy: Never
  initContainers:
  - {name: first, image: proa.local/toolbox:1.0, command: [sh, -c, "echo one > /shared/order"], volumeMounts: [{name: shared, mountPath: /shared}]}
  - name: side
    image: proa.local/toolbox:1.0
    restartPolicy: Always
    command: [sh, -c, "echo side >> /shared/order; trap 'exit 0' TERM; while :; do sleep 0.2; done"]
    startupProbe: {exec: {command: [grep, -q, side, /shared/order]}, periodSeconds: 1}
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - {name: main, image: proa.local/toolbox:1.0, command: [sh, -c, "cat /shared/order; echo main"], volumeMounts: [{name: shared, mountPath: /shared}]}
  volumes: [{name: shared, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]`,
			says: []saying{{get("init-and-sidecar", ".status.phase"), "Succeeded"}, {[]string{"logs", "init-and-sidecar", "-c", "main"}, "one\nside\nmain"}}},
		{name: "liveness", spec: `
  containers:
  - name: main
    image: proa.local/toolbox:1.0
    command: [sh, -c, "touch /tmp/ok; sleep 2; rm /tmp/ok; sleep 600"]
    livenessProbe: {exec: {command: [test, -e, /tmp/ok]}, periodSeconds: 1, failureThreshold: 1}
  terminationGracePeriodSeconds: 0`,
			says: []saying{{get("liveness", ".status.containerStatuses[0].lastState.terminated.exitCode"), "137"},
				{[]string{"get", "events", "--field-selector", "involvedObject.name=liveness"}, "Liveness probe failed"}}},
		{name: "crash", spec: `
  containers:
  - {name: main, image: proa.local/toolbox:1.0, command: [sh, -c, "echo why > /dev/termination-log; exit 3"]}`,
			says: []saying{{get("crash", ".status.containerStatuses[0].lastState.terminated"), `"exitCode":3`},
				{get("crash", ".status.containerStatuses[0].lastState.terminated.message"), "why"},
				{get("crash", ".status.containerStatuses[0].state.waiting.reason"), "CrashLoopBackOff"}}},
		{name: "oom", spec: `
  restartPolicy: Never
  containers:
  - name: main
    image: proa.local/toolbox:1.0
    command: [sh, -c, "x=a; while :; do x=$x$x; done"]
    resources: {limits: {memory: 20Mi, cpu: 500m}}`,
			says: []saying{{get("oom", ".status.containerStatuses[0].state.terminated.reason"), "OOMKilled"}, {get("oom", ".status.qosClass"), "Guaranteed"}}},
		{name: "security", spec: `
  restartPolicy: Never
  securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: main
    image: proa.local/toolbox:1.0
    command: [sh, -c, "id; touch /no 2>&1; touch /data/yes && ls -ln /data; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status"]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]`,
			says: []saying{{[]string{"logs", "security"}, "uid=1000 gid=2000 groups=2000,3000"}, {[]string{"logs", "security"}, "Read-only file system"},
				{[]string{"logs", "security"}, "1000     3000"}, {[]string{"logs", "security"}, "CapEff:\t0000000000000000"},
				{[]string{"logs", "security"}, "Seccomp:\t2"}, {[]string{"logs", "security"}, "NoNewPrivs:\t1"}}},
		{name: "environment", spec: `
  restartPolicy: Never
  hostname: given
  subdomain: sub
  containers:
  - name: main
    image: proa.local/toolbox:1.0
    command: [sh, -c, "echo '$(JOINED)' $LIMIT; cat /info/labels; hostname -f; ls /var/run/secrets/kubernetes.io/serviceaccount; cat /file/sub"]
    env:
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: JOINED, value: "pod=$(POD) literal=$$(POD)"}
    - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    resources: {limits: {cpu: 250m}}
    volumeMounts: [{name: info, mountPath: /info}, {name: file, mountPath: /file/sub, subPath: a/b}]
  volumes:
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: file, projected: {sources: [{downwardAPI: {items: [{path: a/b, fieldRef: {fieldPath: metadata.namespace}}]}}]}}`,
			says: []saying{{[]string{"logs", "environment"}, "pod=environment literal=$(POD) 250"}, {[]string{"logs", "environment"}, `case="environment"`},
				{[]string{"logs", "environment"}, "given.sub.default.svc.cluster.local"}, {[]string{"logs", "environment"}, "ca.crt\nnamespace\ntoken"},
				{[]string{"logs", "environment"}, "token\ndefault"}}},
		{name: "hooks", spec: `
  terminationGracePeriodSeconds: 10
  containers:
  - name: main
    image: proa.local/toolbox:1.0
    command: [sh, -c, "while :; do sleep 0.2; done"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo started > /tmp/hook"]}}
      preStop: {exec: {command: [sh, -c, "sleep 0.1"]}}
    readinessProbe: {exec: {command: [cat, /tmp/hook]}, periodSeconds: 1}`,
			says: []saying{{get("hooks", ".status.conditions[?(@.type==\"Ready\")].status"), "True"}, {[]string{"exec", "hooks", "--", "cat", "/tmp/hook"}, "started"},
				{[]string{"delete", "pod", "hooks"}, "deleted"}}},
		{name: "ports", spec: `
  containers:
  - name: main
    image: proa.local/webapp:1.0
    ports: [{name: http, containerPort: 8080, hostPort: 18080}]
    readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
    startupProbe: {httpGet: {path: /healthz, port: 8080, httpHeaders: [{name: X-Test, value: "1"}]}, periodSeconds: 1}`,
			says: []saying{{get("ports", ".status.conditions[?(@.type==\"Ready\")].status"), "True"}}},
		{name: "refused", spec: `
  containers:
  - {name: main, image: proa.local/toolbox:1.0, command: [sleep, "600"], securityContext: {runAsNonRoot: true}}`,
			says: []saying{{get("refused", ".status.containerStatuses[0].state.waiting.reason"), "CreateContainerConfigError"}}},
		{name: "job", manifest: `
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: proa.local/toolbox:1.0, command: [sh, -c, "echo index $JOB_COMPLETION_INDEX"]}]`,
			says: []saying{{[]string{"get", "job", "job", "-o", "jsonpath={.status.succeeded} {.status.completedIndexes} {.status.conditions[*].type}"}, "3 0-2 SuccessCriteriaMet Complete"},
				{[]string{"logs", "job/job", "--all-pods"}, "index"}}},
		{name: "daemonset", manifest: `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: daemonset}
spec:
  selector: {matchLabels: {app: daemon}}
  template:
    metadata: {labels: {app: daemon}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: proa.local/toolbox:1.0, command: [sleep, "600"]}]`,
			says: []saying{{[]string{"rollout", "status", "daemonset/daemonset", "--timeout=30s"}, "successfully rolled out"}}},
	}
}

// TestPods runs pods of many kinds side by side on a real node.
func TestPods(t *testing.T) {
	p := newCluster(t)
	for _, c := range podCases() {
		manifest := c.manifest
		if manifest == "" {
			manifest = fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: {case: %s}}\nspec:%s\n", c.name, c.name, c.spec)
		}
		p.Apply(manifest)
	}
	for _, c := range podCases() {
		t.Run(c.name, func(t *testing.T) {
			p := p.In(t)
			for _, s := range c.says {
				p.EventuallySays(s.want, 60*time.Second, s.args...)
			}
		})
	}
	t.Run("host port", func(t *testing.T) {
		out, err := p.Try(bin("images/programs/webapp"), "get", "http://"+p.Address+":18080/healthz")
		if err != nil || !strings.Contains(out, "ok") {
			t.Errorf("%v: %s", err, out)
		}
	})
}
