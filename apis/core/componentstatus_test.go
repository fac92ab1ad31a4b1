package core

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

func TestComponentStatus(t *testing.T) {
	answer := func(message string, err error) kind.Check {
		return func(context.Context) (string, error) { return message, err }
	}
	storage, err := ComponentStatus().New(&kind.Deps{Components: map[string]kind.Check{
		"controller-manager": answer("ok", nil), "scheduler": answer("late", nil), "etcd-0": answer("", errors.New("gone")),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ selector, want string }{
		{"", "[[controller-manager Healthy ok ] [etcd-0 Unhealthy  gone] [scheduler Unhealthy late ]]"},
		{"metadata.name=scheduler", "[[scheduler Unhealthy late ]]"},
	} {
		list, err := storage.(rest.Lister).List(t.Context(), &internalversion.ListOptions{FieldSelector: fields.ParseSelectorOrDie(c.selector)})
		if err != nil {
			t.Fatal(err)
		}
		table, err := storage.(rest.TableConvertor).ConvertToTable(t.Context(), list, nil)
		if err != nil {
			t.Fatal(err)
		}
		var rows [][]any
		for _, r := range table.Rows {
			rows = append(rows, r.Cells)
		}
		if got := fmt.Sprint(rows); got != c.want {
			t.Errorf("%q: %s, want %s", c.selector, got, c.want)
		}
	}
	one, err := storage.(rest.Getter).Get(t.Context(), "scheduler", &metav1.GetOptions{})
	if err != nil || one.(*corev1.ComponentStatus).Conditions[0].Status != corev1.ConditionFalse {
		t.Errorf("scheduler: %v %v", one, err)
	}
	if _, err := storage.(rest.Getter).Get(t.Context(), "proxy", &metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("proxy: %v", err)
	}
}
