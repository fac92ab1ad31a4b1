package apis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"proa/apis"
	"proa/apis/kind"
	"proa/apis/server"
)

// rounds is how many random objects each kind has to bear.
const rounds = 60

// TestContract holds every kind to what the adapter and clients rely on, with
// random objects: nothing panics, defaulting is idempotent, what is stored
// comes back, cells are JSON types, names are unique.
func TestContract(t *testing.T) {
	kinds := apis.Kinds()
	scheme, err := server.NewScheme(kinds, apis.Conversions()...)
	if err != nil {
		t.Fatal(err)
	}
	codecs := server.NewCodecs(scheme)
	seen := map[string]string{}
	for _, k := range kinds {
		d := k.Description()
		for _, name := range []string{d.Resource, d.GVK.Kind} {
			key := d.GVK.Group + "/" + name
			if other, ok := seen[key]; ok && other != d.Resource {
				t.Errorf("%s is the name of both %s and %s", key, other, d.Resource)
			}
			seen[key] = d.Resource
		}
		if !scheme.Recognizes(d.GVK) {
			t.Errorf("%s is not in the scheme", d.GVK)
		}
		stored, ok := k.(kind.Stored)
		if !ok {
			continue
		}
		t.Run(d.GVK.GroupKind().String(), func(t *testing.T) {
			t.Parallel()
			f := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(1), codecs)
			f.NilChance(0.3).NumElements(0, 3).MaxDepth(12)
			for i := range rounds {
				obj := d.New()
				if i > 0 { // the first is the empty object
					f.Fill(obj)
				}
				obj.GetObjectKind().SetGroupVersionKind(d.GVK)
				one(t, stored, scheme, obj)
			}
			codec := codecs.LegacyCodec(d.GVK.GroupVersion())
			obj := d.New()
			f.NumElements(1, 3) // an empty list is not written, and what reads may default it
			f.Fill(obj)
			scheme.Default(obj)
			roundTrip(t, codec, obj)
		})
	}
}

func one(t *testing.T, k kind.Stored, scheme *runtime.Scheme, obj runtime.Object) {
	d := k.Description()
	scheme.Default(obj)
	again := obj.DeepCopyObject()
	scheme.Default(again)
	if !equality.Semantic.DeepEqual(obj, again) {
		t.Fatalf("defaulting twice differs (-once +twice):\n%s", diff(obj, again))
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		t.Fatal(err)
	}
	ctx := request.WithUser(request.WithNamespace(context.Background(), m.GetNamespace()), &user.DefaultInfo{Name: "tester"})
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, APIGroup: d.GVK.Group, APIVersion: d.GVK.Version, Resource: d.Resource, Verb: "create"})
	s := k.Strategy(scheme)
	old := again
	s.PrepareForCreate(ctx, obj)
	before := obj.DeepCopyObject()
	errs := s.Validate(ctx, obj)
	if !equality.Semantic.DeepEqual(before, obj) {
		t.Fatalf("validation changed the object:\n%s", diff(before, obj))
	}
	for _, e := range errs {
		if e.Field == "" && e.Detail == "" {
			t.Errorf("an error without field and detail: %v", e)
		}
	}
	s.WarningsOnCreate(ctx, obj)
	updated := obj.DeepCopyObject()
	s.PrepareForUpdate(ctx, updated, old)
	s.ValidateUpdate(ctx, updated, old)
	s.WarningsOnUpdate(ctx, updated, old)
	s.Canonicalize(updated)

	table, err := k.Table().ConvertToTable(ctx, obj, &metav1.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, cell := range table.Rows[0].Cells {
		switch cell.(type) {
		case string, int64, bool, float64, nil:
		default:
			t.Errorf("column %q: cell %T is not a JSON type", table.ColumnDefinitions[i].Name, cell)
		}
	}
	if n, c := len(table.Rows[0].Cells), len(table.ColumnDefinitions); n != c {
		t.Errorf("%d cells in %d columns", n, c)
	}
}

func roundTrip(t *testing.T, codec runtime.Codec, obj runtime.Object) {
	data, err := runtime.Encode(codec, obj)
	if err != nil {
		t.Fatal(err)
	}
	back, err := runtime.Decode(codec, data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	again, err := runtime.Encode(codec, back)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != string(again) {
		t.Errorf("encoding what was decoded differs:\n%s", cmp.Diff(string(data), string(again)))
	}
}

func diff(a, b any) string {
	x, _ := json.MarshalIndent(a, "", " ")
	y, _ := json.MarshalIndent(b, "", " ")
	d := cmp.Diff(strings.Split(string(x), "\n"), strings.Split(string(y), "\n"))
	if d == "" {
		return fmt.Sprintf("(nil and empty differ) %T", a)
	}
	return d
}
