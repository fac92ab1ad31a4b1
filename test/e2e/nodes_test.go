package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTwoNodes joins a second machine and crosses the network between them.
func TestTwoNodes(t *testing.T) {
	net := NewNetwork(t)
	p := net.newServer(t)
	m := net.NewMachine(t, "two")
	m.addImages()
	agent := m.StartAgent(p)
	p.Kubectl("wait", "--for=condition=Ready", "node/one", "node/two", "--timeout=60s")

	p.Apply(webapp)
	// One replica on each machine at least, and a client on each.
	for _, node := range []string{"one", "two"} {
		p.Apply(strings.NewReplacer("{name: toolbox,", "{name: box-"+node+",", "spec:\n", "spec:\n  nodeName: "+node+"\n").Replace(toolbox))
		p.Apply(strings.NewReplacer("name: toolbox, labels: {app: toolbox}", "name: web-"+node+", labels: {app: web}",
			"toolbox:1.0", "webapp:1.0", "spec:\n", "spec:\n  nodeName: "+node+"\n",
			`command: [sh, -c, 'echo started; trap "exit 0" TERM; while :; do sleep 1; done']`, "ports: [{name: http, containerPort: 8080}]").Replace(toolbox))
	}
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s")
	p.Kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
	for _, from := range []string{"one", "two"} {
		for _, to := range []string{"one", "two"} {
			ip := strings.TrimSpace(p.Kubectl("get", "pod", "web-"+to, "-o", "jsonpath={.status.podIP}"))
			p.EventuallySays("", 20*time.Second, "exec", "box-"+from, "--", "webapp", "get", "http://"+ip+":8080/hostname")
		}
		p.EventuallySays("hello", 30*time.Second, "exec", "box-"+from, "--", "webapp", "get", "http://web.default.svc.cluster.local")
	}
	for _, from := range []*Machine{p.Machine, m} {
		for _, to := range []*Machine{p.Machine, m} {
			Eventually(t, 20*time.Second, func() error {
				out, err := from.Try(bin("images/programs/webapp"), "get", "http://"+to.Address+":30080/")
				if err != nil {
					return fmt.Errorf("from %s to node port of %s: %v: %s", from.Name, to.Name, err, out)
				}
				return nil
			})
		}
	}
	if out := p.Kubectl("logs", "box-two"); !strings.Contains(out, "started") {
		t.Errorf("logs from the second node: %q", out)
	}

	// A crash of the agent touches no container, and needs no token again.
	container := func() string {
		return p.Kubectl("get", "pod", "box-two", "-o", "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}")
	}
	before := container()
	agent.Kill()
	agent.Start()
	p.EventuallySays("started", 20*time.Second, "logs", "box-two")
	p.EventuallySays("hello", 20*time.Second, "exec", "box-two", "--", "webapp", "get", "http://web.default.svc.cluster.local")
	if after := container(); after != before {
		t.Errorf("container of box-two: before %q, after %q", before, after)
	}
}
