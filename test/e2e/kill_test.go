package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// kills is how often TestKill crashes the server.
const kills = 20

// TestKill crashes proa again and again under a stream of writes: every
// acknowledged write survives, and no container is restarted or doubled.
func TestKill(t *testing.T) {
	p := newCluster(t)
	p.Apply(webapp)
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s")
	containers := func() string {
		return p.Kubectl("get", "pods", "-l", "app=web", "--sort-by=.metadata.name", "-o",
			`jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}`)
	}
	before := containers()
	p.Kubectl("create", "namespace", "writes")

	ctx, stop := context.WithCancel(context.Background())
	var mu sync.Mutex
	var acknowledged []string
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			name := fmt.Sprintf("w-%d", i)
			if _, err := p.TryKubectl("create", "configmap", name, "-n", "writes", "--from-literal=i="+fmt.Sprint(i)); err == nil {
				mu.Lock()
				acknowledged = append(acknowledged, name)
				mu.Unlock()
			}
		}
	})
	for range kills {
		mu.Lock()
		n := len(acknowledged)
		mu.Unlock()
		Eventually(t, 30*time.Second, func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(acknowledged) < n+2 {
				return fmt.Errorf("%d writes acknowledged since the last start", len(acknowledged)-n)
			}
			return nil
		})
		p.Kill()
		p.Start()
	}
	stop()
	writer.Wait()

	have := map[string]bool{}
	for _, name := range strings.Fields(p.Kubectl("get", "configmaps", "-n", "writes", "-o", "jsonpath={.items[*].metadata.name}")) {
		have[name] = true
	}
	for _, name := range acknowledged {
		if !have[name] {
			t.Errorf("acknowledged write %s is lost", name)
		}
	}
	t.Logf("%d acknowledged writes, %d kills", len(acknowledged), kills)
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	if after := containers(); after != before {
		t.Errorf("pods changed over the kills.\nbefore:\n%s\nafter:\n%s", before, after)
	}
	// The runtime itself may crash too.
	pids, err := exec.Command("pgrep", "-f", "containerd.*"+p.Dir).Output()
	if err != nil {
		t.Fatalf("no containerd of %s: %v", p.Dir, err)
	}
	for _, pid := range strings.Fields(string(pids)) {
		if comm, _ := exec.Command("cat", "/proc/"+pid+"/comm").Output(); strings.TrimSpace(string(comm)) == "containerd" {
			must(t, "kill", "-9", pid)
		}
	}
	p.Apply(toolbox)
	p.Kubectl("wait", "--for=condition=Ready", "pod/toolbox", "--timeout=60s")
	if after := containers(); after != before {
		t.Errorf("pods changed when containerd was killed.\nbefore:\n%s\nafter:\n%s", before, after)
	}
}
