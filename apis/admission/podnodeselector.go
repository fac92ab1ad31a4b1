package admission

import (
	"context"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/admission"
	"sigs.k8s.io/yaml"
)

// nodeSelectorAnnotation on a namespace is the node selector of its pods.
const nodeSelectorAnnotation = "scheduler.alpha.kubernetes.io/node-selector"

// podNodeSelector gives pods the node selector of their namespace, and refuses
// others than its whitelist has.
type podNodeSelector struct {
	namespaceReader
	// selectors are the whitelists by namespace, and clusterDefaultNodeSelector.
	selectors map[string]string
}

func newPodNodeSelector(o Options, config io.Reader) (admission.Interface, error) {
	p := &podNodeSelector{namespaceReader: newNamespaceReader(o, admission.Create)}
	if config == nil {
		return p, nil
	}
	text, err := io.ReadAll(config)
	if err != nil {
		return nil, err
	}
	var c struct {
		Selectors map[string]string `json:"podNodeSelectorPluginConfig"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("podNodeSelectorPluginConfig: %w", err)
	}
	p.selectors = c.Selectors
	return p, nil
}

func (p *podNodeSelector) selector(ctx context.Context, a admission.Attributes) (labels.Set, error) {
	ns, err := p.namespace(ctx, a)
	if err != nil {
		return nil, err
	}
	text, ok := ns.Annotations[nodeSelectorAnnotation]
	if !ok {
		text = p.selectors["clusterDefaultNodeSelector"]
	}
	return labels.ConvertSelectorToLabelsMap(text)
}

// Admit implements admission.MutationInterface.
func (p *podNodeSelector) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	selector, err := p.selector(ctx, a)
	if err != nil {
		return err
	}
	if labels.Conflicts(selector, pod.Spec.NodeSelector) {
		return apierrors.NewForbidden(a.GetResource().GroupResource(), pod.Name, errors.New("pod node label selector conflicts with its namespace node label selector"))
	}
	pod.Spec.NodeSelector = labels.Merge(selector, pod.Spec.NodeSelector)
	return p.Validate(ctx, a, o)
}

// Validate implements admission.ValidationInterface.
func (p *podNodeSelector) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	selector, err := p.selector(ctx, a)
	if err != nil {
		return err
	}
	forbidden := func(what string) error {
		return apierrors.NewForbidden(a.GetResource().GroupResource(), pod.Name, errors.New(what))
	}
	if labels.Conflicts(selector, pod.Spec.NodeSelector) {
		return forbidden("pod node label selector conflicts with its namespace node label selector")
	}
	allowed, err := labels.ConvertSelectorToLabelsMap(p.selectors[a.GetNamespace()])
	if err != nil {
		return err
	}
	for k, v := range pod.Spec.NodeSelector {
		if have, ok := allowed[k]; len(allowed) > 0 && (!ok || have != v) {
			return forbidden("pod node label selector labels conflict with its namespace whitelist")
		}
	}
	return nil
}
