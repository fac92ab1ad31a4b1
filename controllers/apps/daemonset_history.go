package apps

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sort"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control"
)

// templatePatch is what a ControllerRevision keeps: the patch that brings its
// owner back to this template. kubectl rollout undo applies it.
func templatePatch(template *corev1.PodTemplateSpec) ([]byte, error) {
	data, err := json.Marshal(template)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	fields["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": fields}})
}

// history finds the revision of the present template, making it if need be,
// and the others.
func (r *DaemonSet) history(ctx context.Context, ds *appsv1.DaemonSet, pods []*corev1.Pod) (current *appsv1.ControllerRevision, old []*appsv1.ControllerRevision, err error) {
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err != nil {
		return nil, nil, err
	}
	var list appsv1.ControllerRevisionList
	if err := r.Client.List(ctx, &list, client.InNamespace(ds.Namespace)); err != nil {
		return nil, nil, err
	}
	all := make([]*appsv1.ControllerRevision, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	all, err = control.Claim(ctx, &control.Claimer{Client: r.Client, Live: r.Live, Owner: ds, Kind: daemonSetKind, Selector: selector}, all, nil)
	if err != nil {
		return nil, nil, err
	}
	patch, err := templatePatch(&ds.Spec.Template)
	if err != nil {
		return nil, nil, err
	}
	var same []*appsv1.ControllerRevision
	next := int64(1)
	for _, rev := range all {
		if bytes.Equal(rev.Data.Raw, patch) {
			same = append(same, rev)
		} else {
			old = append(old, rev)
			next = max(next, rev.Revision+1)
		}
	}
	if len(same) == 0 {
		current, err = r.snapshot(ctx, ds, patch, next)
		return current, old, err
	}
	current, err = r.dedup(ctx, same, pods)
	if err != nil {
		return nil, nil, err
	}
	_, labelled := current.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]
	if current.Revision >= next && labelled {
		return current, old, nil
	}
	current = current.DeepCopy()
	current.Revision = max(current.Revision, next)
	if !labelled {
		if current.Labels == nil {
			current.Labels = map[string]string{}
		}
		current.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] = current.Name
	}
	return current, old, r.Client.Update(ctx, current)
}

// snapshot makes the revision of the present template.
func (r *DaemonSet) snapshot(ctx context.Context, ds *appsv1.DaemonSet, patch []byte, revision int64) (*appsv1.ControllerRevision, error) {
	hash := control.TemplateHash(&ds.Spec.Template, ds.Status.CollisionCount)
	labels := maps.Clone(ds.Spec.Template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[appsv1.DefaultDaemonSetUniqueLabelKey] = hash
	rev := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       ds.Namespace,
			Name:            ds.Name + "-" + hash,
			Labels:          labels,
			Annotations:     maps.Clone(ds.Annotations),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ds, daemonSetKind)},
		},
		Data:     runtime.RawExtension{Raw: patch},
		Revision: revision,
	}
	err := r.Client.Create(ctx, rev)
	if !apierrors.IsAlreadyExists(err) {
		return rev, err
	}
	var existing appsv1.ControllerRevision
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(rev), &existing); err != nil {
		return nil, err
	}
	if bytes.Equal(existing.Data.Raw, patch) {
		return &existing, nil
	}
	// Another template has the name: the next attempt hashes with a higher count.
	var fresh appsv1.DaemonSet
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(ds), &fresh); err != nil {
		return nil, err
	}
	if !ptr.Equal(fresh.Status.CollisionCount, ds.Status.CollisionCount) {
		return nil, fmt.Errorf("found a stale collision count (%d, expected %d) of DaemonSet %q while processing; will retry until it is updated",
			ptr.Deref(ds.Status.CollisionCount, 0), ptr.Deref(fresh.Status.CollisionCount, 0), ds.Name)
	}
	fresh.Status.CollisionCount = ptr.To(ptr.Deref(fresh.Status.CollisionCount, 0) + 1)
	if err := r.Client.Status().Update(ctx, &fresh); err != nil {
		return nil, err
	}
	return nil, err
}

// dedup keeps the newest of equal revisions and moves the pods of the others to it.
func (r *DaemonSet) dedup(ctx context.Context, same []*appsv1.ControllerRevision, pods []*corev1.Pod) (*appsv1.ControllerRevision, error) {
	keep := same[0]
	for _, rev := range same {
		if rev.Revision > keep.Revision {
			keep = rev
		}
	}
	if len(same) == 1 {
		return keep, nil
	}
	hash := keep.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]
	hashes := map[string]bool{}
	for _, rev := range same {
		hashes[rev.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]] = true
	}
	for _, p := range pods {
		if h := p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]; h == hash || !hashes[h] {
			continue
		}
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, appsv1.DefaultDaemonSetUniqueLabelKey, hash)
		if err := r.Client.Patch(ctx, p.DeepCopy(), client.RawPatch(types.MergePatchType, patch)); err != nil {
			return nil, err
		}
	}
	for _, rev := range same {
		if rev.Name != keep.Name {
			if err := r.Client.Delete(ctx, rev.DeepCopy()); client.IgnoreNotFound(err) != nil {
				return nil, err
			}
		}
	}
	return keep, nil
}

// cleanupHistory deletes old revisions beyond the limit that no pod has.
func (r *DaemonSet) cleanupHistory(ctx context.Context, ds *appsv1.DaemonSet, old []*appsv1.ControllerRevision, pods []*corev1.Pod) error {
	surplus := len(old) - int(ptr.Deref(ds.Spec.RevisionHistoryLimit, 10))
	live := map[string]bool{}
	for _, p := range pods {
		live[p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]] = true
	}
	sort.SliceStable(old, func(i, j int) bool { return old[i].Revision < old[j].Revision })
	for _, rev := range old {
		if surplus <= 0 {
			break
		}
		if live[rev.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]] {
			continue
		}
		if err := r.Client.Delete(ctx, rev.DeepCopy()); client.IgnoreNotFound(err) != nil {
			return err
		}
		surplus--
	}
	return nil
}
