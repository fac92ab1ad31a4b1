package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// auditPolicy logs secrets without their content, deletions in full, the rest not.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, resources: [{resources: [secrets]}], verbs: [create, get]}
- {level: RequestResponse, resources: [{resources: [configmaps]}], verbs: [delete], namespaces: [default]}
- {level: None}
`

// TestAuditing follows requests in the audit log.
func TestAuditing(t *testing.T) {
	m := NewNetwork(t).NewMachine(t, "one")
	policy, log := filepath.Join(m.Dir, "policy.yaml"), filepath.Join(m.Dir, "audit.log")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	p := m.StartServer("--no-node", "--audit-policy-file", policy, "--audit-log-path", log)
	c := p.client()
	c.do("POST", "/api/v1/namespaces/default/secrets", `{"metadata":{"name":"audited"},"stringData":{"word":"mellon"}}`).is(201)
	c.do("POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"audited"},"data":{"word":"friend"}}`).is(201)
	c.do("DELETE", "/api/v1/namespaces/default/configmaps/audited", "").is(200)
	c.do("GET", "/api/v1/namespaces/default/secrets/absent", "").is(404)

	type event struct {
		Level, Stage, Verb string
		User               struct{ Username string }
		ObjectRef          struct{ Resource, Name, Namespace string }
		ResponseStatus     struct{ Code int }
		RequestObject      map[string]any
		ResponseObject     map[string]any
		Annotations        map[string]string
	}
	want := []string{
		"Metadata ResponseComplete create secrets/audited 201 admin, objects false",
		"RequestResponse ResponseComplete delete configmaps/audited 200 admin, objects true",
		"Metadata ResponseComplete get secrets/absent 404 admin, objects false",
	}
	Eventually(t, 10*time.Second, func() error {
		f, err := os.Open(log)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		var got []string
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "mellon") {
				return fmt.Errorf("the log holds a secret's content: %s", lines.Text())
			}
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				return fmt.Errorf("%w: %s", err, lines.Text())
			}
			if !strings.HasSuffix(e.User.Username, "admin") {
				continue // components of the cluster ask for secrets too
			}
			if e.Annotations["authorization.k8s.io/decision"] != "allow" {
				return fmt.Errorf("no decision: %s", lines.Text())
			}
			got = append(got, fmt.Sprintf("%s %s %s %s/%s %d admin, objects %v", e.Level, e.Stage, e.Verb, e.ObjectRef.Resource, e.ObjectRef.Name, e.ResponseStatus.Code, e.RequestObject != nil || e.ResponseObject != nil))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			return fmt.Errorf("audit log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
}
