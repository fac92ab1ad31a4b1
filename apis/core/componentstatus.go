package core

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// ComponentStatus tells whether etcd, the controllers and the scheduler are well.
// Nothing is stored: they are asked when somebody looks.
func ComponentStatus() *kind.Virtual {
	return &kind.Virtual{
		GVK:        corev1.SchemeGroupVersion.WithKind("ComponentStatus"),
		Resource:   "componentstatuses",
		ShortNames: []string{"cs"},
		Prototype:  &corev1.ComponentStatus{},
		New: func(d *kind.Deps) (rest.Storage, error) {
			checks := map[string]kind.Check{
				"controller-manager": portCheck(10257),
				"scheduler":          portCheck(10259),
				"etcd-0":             etcdCheck(d),
			}
			for name, check := range d.Components {
				checks[name] = check
			}
			return &componentStatusREST{TableConvertor: kind.NewTable(componentStatusColumns()), checks: checks}, nil
		},
	}
}

// componentTimeout is how long a component may take to answer, as upstream has it.
const componentTimeout = 20 * time.Second

// portCheck asks a component that runs alone on this machine.
func portCheck(port int) kind.Check {
	client := &http.Client{Timeout: componentTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, //nolint:gosec // only "ok" is read
	}}
	return func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/healthz", port), nil)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err.Error(), nil
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		if err != nil {
			return "", err
		}
		if resp.StatusCode != http.StatusOK {
			return string(body), fmt.Errorf("HTTP status %d", resp.StatusCode)
		}
		return string(body), nil
	}
}

// etcdCheck reads a key that is always there.
func etcdCheck(d *kind.Deps) kind.Check {
	return func(ctx context.Context) (string, error) {
		namespaces := d.StoreOf(corev1.Resource("namespaces"))
		if namespaces == nil {
			return "ok", nil
		}
		ctx, cancel := context.WithTimeout(ctx, componentTimeout)
		defer cancel()
		_, err := namespaces.Store.Get(ctx, metav1.NamespaceDefault, &metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return "", err
		}
		return "ok", nil
	}
}

func componentStatusColumns() []kind.Column[*corev1.ComponentStatus] {
	healthy := func(s *corev1.ComponentStatus) (status, message, problem string) {
		for _, c := range s.Conditions {
			if c.Type != corev1.ComponentHealthy {
				continue
			}
			if c.Status == corev1.ConditionTrue {
				return "Healthy", c.Message, c.Error
			}
			return "Unhealthy", c.Message, c.Error
		}
		return "Unknown", "", ""
	}
	return []kind.Column[*corev1.ComponentStatus]{
		kind.NameColumn[*corev1.ComponentStatus](),
		{Name: "Status", Type: "string", Description: "Status of the component conditions", Value: func(s *corev1.ComponentStatus) any {
			status, _, _ := healthy(s)
			return status
		}},
		{Name: "Message", Type: "string", Description: "Message of the component conditions", Value: func(s *corev1.ComponentStatus) any {
			_, message, _ := healthy(s)
			return message
		}},
		{Name: "Error", Type: "string", Description: "Error of the component conditions", Value: func(s *corev1.ComponentStatus) any {
			_, _, problem := healthy(s)
			return problem
		}},
	}
}

// componentStatusREST serves get and list.
type componentStatusREST struct {
	rest.TableConvertor
	checks map[string]kind.Check
}

// New implements rest.Storage.
func (r *componentStatusREST) New() runtime.Object { return &corev1.ComponentStatus{} }

// NewList implements rest.Lister.
func (r *componentStatusREST) NewList() runtime.Object { return &corev1.ComponentStatusList{} }

// Destroy implements rest.Storage.
func (r *componentStatusREST) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (r *componentStatusREST) NamespaceScoped() bool { return false }

// GetSingularName implements rest.SingularNameProvider.
func (r *componentStatusREST) GetSingularName() string { return "componentstatus" }

// ShortNames implements rest.ShortNamesProvider.
func (r *componentStatusREST) ShortNames() []string { return []string{"cs"} }

// Get implements rest.Getter.
func (r *componentStatusREST) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	check, ok := r.checks[name]
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("componentstatus"), name)
	}
	return componentStatus(ctx, name, check), nil
}

// List implements rest.Lister; components are asked at once, and have no labels.
func (r *componentStatusREST) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	answers := make(chan *corev1.ComponentStatus)
	asked := 0
	for name, check := range r.checks {
		if options != nil && options.LabelSelector != nil && !options.LabelSelector.Matches(labels.Set{}) {
			continue
		}
		if options != nil && options.FieldSelector != nil && !options.FieldSelector.Matches(fields.Set{"metadata.name": name}) {
			continue
		}
		asked++
		go func() { answers <- componentStatus(ctx, name, check) }()
	}
	list := &corev1.ComponentStatusList{Items: []corev1.ComponentStatus{}}
	for range asked {
		list.Items = append(list.Items, *<-answers)
	}
	slices.SortFunc(list.Items, func(a, b corev1.ComponentStatus) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func componentStatus(ctx context.Context, name string, check kind.Check) *corev1.ComponentStatus {
	condition := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue}
	message, err := check(ctx)
	condition.Message = message
	if err != nil {
		condition.Error = err.Error()
	}
	if err != nil || strings.TrimSpace(message) != "ok" {
		condition.Status = corev1.ConditionFalse
	}
	return &corev1.ComponentStatus{ObjectMeta: metav1.ObjectMeta{Name: name}, Conditions: []corev1.ComponentCondition{condition}}
}
