package apps

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"sort"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control"
)

// revisionHashLabel carries the hash in the name of a StatefulSet's revision.
const revisionHashLabel = "controller.kubernetes.io/hash"

// revisionHash names a revision by its data and the number of collisions so far.
func revisionHash(data []byte, collisions int32) string {
	h := fnv.New32()
	_, _ = h.Write(data)
	_, _ = h.Write([]byte(strconv.FormatInt(int64(collisions), 10)))
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}

// revisionTemplate is the pod template that a revision keeps.
func revisionTemplate(rev *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, error) {
	var kept struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(rev.Data.Raw, &kept); err != nil {
		return nil, fmt.Errorf("controller revision %s/%s: data: %w", rev.Namespace, rev.Name, err)
	}
	return &kept.Spec.Template, nil
}

// atRevision is the set with the template of the revision.
func atRevision(set *appsv1.StatefulSet, rev *appsv1.ControllerRevision) (*appsv1.StatefulSet, error) {
	template, err := revisionTemplate(rev)
	if err != nil {
		return nil, err
	}
	out := set.DeepCopy()
	out.Spec.Template = *template
	return out, nil
}

// keepsTemplate reports whether the revision keeps the template of the patch,
// written differently, for instance by another release.
func keepsTemplate(rev *appsv1.ControllerRevision, patch []byte) bool {
	template, err := revisionTemplate(rev)
	if err != nil {
		return false
	}
	again, err := templatePatch(template)
	return err == nil && bytes.Equal(again, patch)
}

// revisions lists the set's revisions, oldest first, and adopts orphans.
func (r *StatefulSet) revisions(ctx context.Context, set *appsv1.StatefulSet, selector labels.Selector) ([]*appsv1.ControllerRevision, error) {
	var list appsv1.ControllerRevisionList
	if err := r.Client.List(ctx, &list, client.InNamespace(set.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, err
	}
	var all []*appsv1.ControllerRevision
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	all, err := control.Claim(ctx, &control.Claimer{Client: r.Client, Live: r.Live, Owner: set, Kind: statefulSetKind, Selector: selector}, all, nil)
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.Revision != b.Revision {
			return a.Revision < b.Revision
		}
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		}
		return a.Name < b.Name
	})
	return all, err
}

// currentAndUpdate finds the revision that the set comes from and the one of
// its present template, which is made if need be. collisions is the collision
// count to put in the status.
func (r *StatefulSet) currentAndUpdate(ctx context.Context, set *appsv1.StatefulSet, all []*appsv1.ControllerRevision) (current, update *appsv1.ControllerRevision, collisions int32, err error) {
	collisions = ptr.Deref(set.Status.CollisionCount, 0)
	patch, err := templatePatch(&set.Spec.Template)
	if err != nil {
		return nil, nil, collisions, err
	}
	next := int64(1)
	var last *appsv1.ControllerRevision
	if len(all) > 0 {
		last = all[len(all)-1]
		next = last.Revision + 1
	}
	for _, rev := range all {
		if bytes.Equal(rev.Data.Raw, patch) {
			update = rev
		}
	}
	switch {
	case update != nil && bytes.Equal(last.Data.Raw, patch):
		update = last
	case update != nil:
		// Back to an earlier template: its revision becomes the newest.
		update, err = r.renumber(ctx, update, next)
	case last != nil && keepsTemplate(last, patch):
		update = last
	default:
		update, err = r.newRevision(ctx, set, patch, next, &collisions)
	}
	if err != nil {
		return nil, nil, collisions, err
	}
	for _, rev := range all {
		if rev.Name == set.Status.CurrentRevision {
			return rev, update, collisions, nil
		}
	}
	return update, update, collisions, nil
}

func (r *StatefulSet) renumber(ctx context.Context, rev *appsv1.ControllerRevision, revision int64) (*appsv1.ControllerRevision, error) {
	next := rev.DeepCopy()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if next.Revision == revision {
			return nil
		}
		next.Revision = revision
		err := r.Client.Update(ctx, next)
		if apierrors.IsConflict(err) {
			var fresh appsv1.ControllerRevision
			if err := r.Live.Get(ctx, client.ObjectKeyFromObject(rev), &fresh); err != nil {
				return err
			}
			next = &fresh
		}
		return err
	})
	return next, err
}

// newRevision makes the revision of the patch. Where another template has the
// name, the collision count rises until a name is free.
func (r *StatefulSet) newRevision(ctx context.Context, set *appsv1.StatefulSet, patch []byte, revision int64, collisions *int32) (*appsv1.ControllerRevision, error) {
	for {
		hash := revisionHash(patch, *collisions)
		l := maps.Clone(set.Spec.Template.Labels)
		if l == nil {
			l = map[string]string{}
		}
		l[revisionHashLabel] = hash
		rev := &appsv1.ControllerRevision{
			ObjectMeta: metav1.ObjectMeta{
				Namespace:       set.Namespace,
				Name:            set.Name[:min(len(set.Name), 223)] + "-" + hash,
				Labels:          l,
				Annotations:     maps.Clone(set.Annotations),
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, statefulSetKind)},
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
		*collisions++
	}
}

// truncateHistory deletes the oldest revisions beyond the limit that neither
// the set nor a pod is at.
func (r *StatefulSet) truncateHistory(ctx context.Context, set *appsv1.StatefulSet, pods []*corev1.Pod, all []*appsv1.ControllerRevision, live ...*appsv1.ControllerRevision) error {
	keep := map[string]bool{}
	for _, rev := range live {
		if rev != nil {
			keep[rev.Name] = true
		}
	}
	for _, p := range pods {
		keep[podRevision(p)] = true
	}
	var old []*appsv1.ControllerRevision
	for _, rev := range all {
		if !keep[rev.Name] {
			old = append(old, rev)
		}
	}
	limit := int(ptr.Deref(set.Spec.RevisionHistoryLimit, 10))
	if limit < 0 || len(old) <= limit {
		return nil
	}
	for _, rev := range old[:len(old)-limit] {
		if err := r.Client.Delete(ctx, rev.DeepCopy()); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
