package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newCluster starts a server on a machine of its own with the test images in
// its image directory.
func newCluster(t *testing.T, args ...string) *Proa {
	t.Helper()
	return NewNetwork(t).newServer(t, args...)
}

func (n *Network) newServer(t *testing.T, args ...string) *Proa {
	t.Helper()
	m := n.NewMachine(t, "one")
	m.addImages()
	return m.StartServer(args...)
}

// addImages puts the locally built images where proa imports them from.
func (m *Machine) addImages() {
	m.t.Helper()
	dir := filepath.Join(m.data(), "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	for _, name := range []string{"webapp.tar", "toolbox.tar"} {
		must(m.t, "cp", bin("images/"+name), dir)
	}
}

// TestTour does what the README's tour does, and what a person does next.
func TestTour(t *testing.T) {
	p := newCluster(t)
	p.EventuallySays("Ready", time.Minute, "get", "nodes")

	p.Apply(webapp)
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s")
	p.Apply(toolbox)
	p.Kubectl("wait", "--for=condition=Ready", "pod/toolbox", "--timeout=60s")

	t.Run("service by cluster IP, name and node port", func(t *testing.T) {
		p := p.In(t)
		ip := strings.TrimSpace(p.Kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"))
		for _, host := range []string{ip, "web", "web.default", "web.default.svc.cluster.local"} {
			p.EventuallySays("hello from the config map", 20*time.Second, "exec", "toolbox", "--", "webapp", "get", "http://"+host)
		}
		Eventually(t, 20*time.Second, func() error {
			out, err := p.Try(bin("images/programs/webapp"), "get", "http://"+p.Address+":30080/")
			if err == nil && strings.Contains(out, "hello from the config map") {
				return nil
			}
			return fmt.Errorf("node port: %v: %s", err, out)
		})
	})
	t.Run("logs", func(t *testing.T) {
		p := p.In(t)
		if out := p.Kubectl("logs", "toolbox"); !strings.Contains(out, "started") {
			t.Errorf("logs: %q", out)
		}
	})
	t.Run("exec with input", func(t *testing.T) {
		p := p.In(t)
		c := exec.Command("nsenter", "--net=/run/netns/"+p.ns, bin("tools/kubectl"), "--kubeconfig", filepath.Join(p.data(), "admin.kubeconfig"),
			"exec", "-i", "toolbox", "--", "cat")
		c.Stdin = strings.NewReader("over stdin")
		out, err := c.CombinedOutput()
		if err != nil || string(out) != "over stdin" {
			t.Errorf("exec -i cat: %v: %q", err, out)
		}
		if out, err := p.TryKubectl("exec", "toolbox", "--", "sh", "-c", "exit 7"); err == nil || !strings.Contains(out, "exit code 7") {
			t.Errorf("exit code: %v: %q", err, out)
		}
	})
	t.Run("cp", func(t *testing.T) {
		p := p.In(t)
		file := filepath.Join(p.Dir, "file")
		if err := os.WriteFile(file, []byte("contents"), 0o644); err != nil {
			t.Fatal(err)
		}
		p.Kubectl("cp", file, "toolbox:/tmp/file")
		if out := p.Kubectl("exec", "toolbox", "--", "cat", "/tmp/file"); out != "contents" {
			t.Errorf("copied %q", out)
		}
	})
	t.Run("scale, roll out, undo", func(t *testing.T) {
		p := p.In(t)
		p.Kubectl("scale", "deployment/web", "--replicas=5")
		p.Kubectl("rollout", "status", "deployment/web", "--timeout=60s")
		p.Kubectl("set", "env", "deployment/web", "GREETING=second")
		p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s")
		p.EventuallySays("second", 20*time.Second, "exec", "toolbox", "--", "webapp", "get", "http://web")
		p.Kubectl("rollout", "undo", "deployment/web")
		p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s")
		p.EventuallySays("hello from the config map", 20*time.Second, "exec", "toolbox", "--", "webapp", "get", "http://web")
		p.Kubectl("rollout", "restart", "deployment/web")
		p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s")
	})
	t.Run("live config", func(t *testing.T) {
		p := p.In(t)
		p.Kubectl("create", "configmap", "live", "--from-literal=key=old")
		p.Apply(strings.Replace(toolbox, "name: toolbox, labels", "name: live, labels", 1) + `    volumeMounts: [{name: live, mountPath: /live}]
  volumes: [{name: live, configMap: {name: live}}]
`)
		p.Kubectl("wait", "--for=condition=Ready", "pod/live", "--timeout=60s")
		p.Kubectl("patch", "configmap", "live", "-p", `{"data":{"key":"new"}}`)
		p.EventuallySays("new", 90*time.Second, "exec", "live", "--", "cat", "/live/key")
	})
	t.Run("missing references", func(t *testing.T) {
		p := p.In(t)
		p.Apply(strings.Replace(toolbox, "name: toolbox, labels", "name: waits, labels", 1) + "    envFrom: [{configMapRef: {name: later}}]\n")
		p.EventuallySays("CreateContainerConfigError", 30*time.Second, "get", "pod", "waits")
		p.Kubectl("create", "configmap", "later", "--from-literal=a=b")
		p.Kubectl("wait", "--for=condition=Ready", "pod/waits", "--timeout=60s")
		p.Apply(strings.NewReplacer("name: toolbox, labels", "name: noimage, labels", "toolbox:1.0", "absent:1.0").Replace(toolbox))
		p.EventuallySays("ImagePull", 30*time.Second, "get", "pod", "noimage")
	})
	t.Run("delete", func(t *testing.T) {
		p := p.In(t)
		p.Kubectl("delete", "deployment,service,configmap,secret", "web", "--timeout=60s")
		p.Kubectl("delete", "pod", "--all", "--timeout=60s")
		p.EventuallySays("No resources found", 60*time.Second, "get", "pods")
	})
}
