// Package kindtest runs a kind's golden cases: what becomes of an object, or
// why it is refused, without any storage.
//
// A case is DIR/<name>.yaml. One document is created; with a second document
// the first, as created, is updated to the second. DIR/<name>.golden.yaml holds
// the outcome of the last step: the object and its table row and warnings, or
// the causes of refusal. `go test ... -update` writes the golden files anew.
package kindtest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"proa/apis/kind"
)

var update = flag.Bool("update", false, "write the golden files anew")

// outcome is what a golden file holds.
type outcome struct {
	Undecodable string         `json:"undecodable,omitempty"`
	Invalid     []cause        `json:"invalid,omitempty"`
	Warnings    []string       `json:"warnings,omitempty"`
	Row         []string       `json:"row,omitempty"`
	Object      runtime.Object `json:"object,omitempty"`
}

type cause struct {
	Field   string `json:"field"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

// Run runs every case of the kind in dir.
func Run(t *testing.T, k kind.Stored, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, f := range files {
		if strings.HasSuffix(f, ".golden.yaml") {
			continue
		}
		ran++
		t.Run(strings.TrimSuffix(filepath.Base(f), ".yaml"), func(t *testing.T) { runCase(t, k, f) })
	}
	if ran == 0 {
		t.Fatalf("no cases in %s", dir)
	}
}

func runCase(t *testing.T, k kind.Stored, file string) {
	input, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out outcome
	var last runtime.Object
	for _, doc := range bytes.Split(input, []byte("\n---\n")) {
		if out, last = step(k, doc, last); last == nil {
			break
		}
	}
	got, err := yaml.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	golden := strings.TrimSuffix(file, ".yaml") + ".golden.yaml"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v; run with -update and review the result", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}

// step creates (old nil) or updates; a nil object means refused.
func step(k kind.Stored, doc []byte, old runtime.Object) (outcome, runtime.Object) {
	d := k.Description()
	scheme := runtime.NewScheme()
	if err := clientscheme.AddToScheme(scheme); err != nil {
		return outcome{Undecodable: err.Error()}, nil
	}
	if err := k.Register(scheme); err != nil {
		return outcome{Undecodable: err.Error()}, nil
	}
	obj, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(doc, &d.GVK, nil)
	if err != nil {
		return outcome{Undecodable: err.Error()}, nil
	}
	scheme.Default(obj)
	m, err := meta.Accessor(obj)
	if err != nil {
		return outcome{Undecodable: err.Error()}, nil
	}
	if !d.ClusterScoped && m.GetNamespace() == "" {
		m.SetNamespace(metav1.NamespaceDefault)
	}
	ctx := request.WithUser(request.WithNamespace(context.Background(), m.GetNamespace()), &user.DefaultInfo{Name: "tester", Groups: []string{user.AllAuthenticated}})
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, APIGroup: d.GVK.Group, APIVersion: d.GVK.Version, Resource: d.Resource, Verb: "create"})
	s := k.Strategy(typer{d.GVK})
	var errs field.ErrorList
	var warnings []string
	if old == nil {
		s.PrepareForCreate(ctx, obj)
		errs = rest.ValidateCreate(ctx, obj, s)
		warnings = s.WarningsOnCreate(ctx, obj)
	} else {
		m.SetResourceVersion("1")
		s.PrepareForUpdate(ctx, obj, old)
		errs = s.ValidateUpdate(ctx, obj, old)
		warnings = s.WarningsOnUpdate(ctx, obj, old)
	}
	if len(errs) > 0 {
		out := outcome{}
		for _, e := range errs {
			out.Invalid = append(out.Invalid, cause{Field: e.Field, Type: string(e.Type), Message: e.ErrorBody()})
		}
		return out, nil
	}
	s.Canonicalize(obj)
	out := outcome{Object: obj, Warnings: warnings}
	table, err := k.Table().ConvertToTable(ctx, obj, &metav1.TableOptions{})
	if err != nil {
		return outcome{Undecodable: "table: " + err.Error()}, nil
	}
	for i, c := range table.ColumnDefinitions {
		out.Row = append(out.Row, fmt.Sprintf("%s: %v", c.Name, table.Rows[0].Cells[i]))
	}
	stored := obj.DeepCopyObject()
	if sm, err := meta.Accessor(stored); err == nil {
		sm.SetResourceVersion("1")
	}
	return out, stored
}

// typer says every object is of the kind under test.
type typer struct{ gvk schema.GroupVersionKind }

func (t typer) ObjectKinds(runtime.Object) ([]schema.GroupVersionKind, bool, error) {
	return []schema.GroupVersionKind{t.gvk}, false, nil
}

func (typer) Recognizes(schema.GroupVersionKind) bool { return true }
