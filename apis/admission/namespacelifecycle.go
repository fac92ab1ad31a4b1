package admission

import (
	"io"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
)

// newNamespaceLifecycle is the library's plugin: nothing is made in a namespace
// that is not there or is going, and some namespaces stay.
func newNamespaceLifecycle(o Options, _ io.Reader) (admission.Interface, error) {
	plugin, err := lifecycle.NewLifecycle(sets.New("default", "kube-system", "kube-public"))
	if err != nil {
		return nil, err
	}
	plugin.SetExternalKubeClientSet(o.Client)
	plugin.SetExternalKubeInformerFactory(o.Informers)
	return plugin, nil
}
