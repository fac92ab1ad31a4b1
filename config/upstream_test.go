package config

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var fromUpstream = flag.String("upstream", "", "write testdata/upstream-rbac.txt from clusterroles.json, clusterrolebindings.json, roles.json and rolebindings.json (kubectl get -A -o json) in this directory")

const upstreamFile = "testdata/upstream-rbac.txt"

// line names an RBAC object and everything in it that matters.
func line(kind string, m metav1.ObjectMeta, content ...any) string {
	data, err := json.Marshal([]any{m.Labels, m.Annotations, content})
	if err != nil {
		panic(err) // these types always have a JSON form
	}
	return fmt.Sprintf("%s %s/%s %x", kind, m.Namespace, m.Name, sha256.Sum256(data))
}

func lines(o *Objects) []string {
	var out []string
	for _, x := range o.ClusterRoles {
		if x.AggregationRule != nil {
			x.Rules = nil // a controller's
		}
		out = append(out, line("ClusterRole", x.ObjectMeta, x.Rules, x.AggregationRule))
	}
	for _, x := range o.ClusterRoleBindings {
		out = append(out, line("ClusterRoleBinding", x.ObjectMeta, x.RoleRef, x.Subjects))
	}
	for _, x := range o.Roles {
		out = append(out, line("Role", x.ObjectMeta, x.Rules))
	}
	for _, x := range o.RoleBindings {
		out = append(out, line("RoleBinding", x.ObjectMeta, x.RoleRef, x.Subjects))
	}
	slices.Sort(out)
	return out
}

func read[T any](t *testing.T, dir, name string) []*T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []*T }
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// TestUpstream compares the roles and bindings with those that upstream's
// kube-apiserver (the version is in the file's first line) makes at its start.
// Ours has some more, under names of its own.
func TestUpstream(t *testing.T) {
	if dir := *fromUpstream; dir != "" {
		o := &Objects{
			ClusterRoles: read[rbacv1.ClusterRole](t, dir, "clusterroles"), ClusterRoleBindings: read[rbacv1.ClusterRoleBinding](t, dir, "clusterrolebindings"),
			Roles: read[rbacv1.Role](t, dir, "roles"), RoleBindings: read[rbacv1.RoleBinding](t, dir, "rolebindings"),
		}
		text := "# kube-apiserver 1.36.3: kind, name, SHA-256 of labels, annotations, rules, references; go test -run TestUpstream -upstream DIR\n" + strings.Join(lines(o), "\n") + "\n"
		if err := os.WriteFile(upstreamFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(upstreamFile)
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Split(strings.TrimSpace(string(data)), "\n")[1:]
	o, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	ours := lines(o)
	for _, l := range theirs {
		if !slices.Contains(ours, l) {
			t.Errorf("upstream's %s is missing or another", l)
		}
	}
	for _, l := range ours {
		if !slices.Contains(theirs, l) && !strings.Contains(l, "/proa:") {
			t.Errorf("%s is not upstream's", l)
		}
	}
	if len(theirs) < 130 {
		t.Errorf("only %d of upstream's", len(theirs))
	}
}
