package apps

import (
	"math"
	"sort"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"proa/controllers/control"
)

// Annotations of a deployment's ReplicaSets, which clients (kubectl rollout) read.
const (
	revisionAnnotation        = "deployment.kubernetes.io/revision"
	revisionHistoryAnnotation = "deployment.kubernetes.io/revision-history"
	desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	maxReplicasAnnotation     = "deployment.kubernetes.io/max-replicas"

	// maxRevisionHistory is the length limit of the history annotation, in characters.
	maxRevisionHistory = 2000
)

// splitReplicaSets finds the ReplicaSet with the deployment's template (the
// oldest, should there be two) and the others, by age.
func splitReplicaSets(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) (newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) {
	sorted := append([]*appsv1.ReplicaSet(nil), sets...)
	sortByAge(sorted)
	for _, rs := range sorted {
		if newRS == nil && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
			newRS = rs
		} else {
			old = append(old, rs)
		}
	}
	return newRS, old
}

// sameTemplate compares templates without the pod-template-hash label.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	ca, cb := a.DeepCopy(), b.DeepCopy()
	delete(ca.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	delete(cb.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return equality.Semantic.DeepEqual(ca, cb)
}

// newReplicaSetFor makes the ReplicaSet of the deployment's template. Its name
// follows from the template, so that creating it twice is harmless.
func newReplicaSetFor(d *appsv1.Deployment, old []*appsv1.ReplicaSet) *appsv1.ReplicaSet {
	hash := control.TemplateHash(&d.Spec.Template, d.Status.CollisionCount)
	template := *d.Spec.Template.DeepCopy()
	template.Labels = withLabel(d.Spec.Template.Labels, hash)
	selector := d.Spec.Selector.DeepCopy()
	if selector == nil {
		selector = &metav1.LabelSelector{}
	}
	selector.MatchLabels = withLabel(selector.MatchLabels, hash)
	zero := int32(0)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       d.Namespace,
			Name:            replicaSetName(d.Name, hash),
			Labels:          withLabel(d.Spec.Template.Labels, hash),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, deploymentKind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas:        &zero,
			MinReadySeconds: d.Spec.MinReadySeconds,
			Selector:        selector,
			Template:        template,
		},
	}
	replicas := newReplicaSetSize(d, append(append([]*appsv1.ReplicaSet(nil), old...), rs), rs)
	rs.Spec.Replicas = &replicas
	annotateNew(d, rs, maxRevision(old)+1)
	annotateReplicas(d, rs)
	return rs
}

func withLabel(in map[string]string, hash string) map[string]string {
	out := make(map[string]string, len(in)+1)
	for k, v := range in {
		out[k] = v
	}
	out[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	return out
}

func replicaSetName(deployment, hash string) string {
	if most := validation.DNS1123SubdomainMaxLength - 1 - len(hash); len(deployment) > most {
		deployment = deployment[:most]
	}
	return deployment + "-" + hash
}

// notCopied are annotations that belong to one object and not to its ReplicaSets.
func notCopied(key string) bool {
	switch key {
	case corev1.LastAppliedConfigAnnotation, revisionAnnotation, revisionHistoryAnnotation,
		desiredReplicasAnnotation, maxReplicasAnnotation, appsv1.DeprecatedRollbackTo:
		return true
	}
	return false
}

// annotateNew brings the new ReplicaSet's annotations up to date: a copy of the
// deployment's, the revision (at least newRevision), and the revisions it had
// before. It changes rs, which must not come from the cache, and reports
// whether it did.
func annotateNew(d *appsv1.Deployment, rs *appsv1.ReplicaSet, newRevision int64) bool {
	changed := false
	set := func(k, v string) {
		if old, ok := rs.Annotations[k]; ok && old == v {
			return
		}
		if rs.Annotations == nil {
			rs.Annotations = map[string]string{}
		}
		rs.Annotations[k] = v
		changed = true
	}
	for k, v := range d.Annotations {
		if !notCopied(k) {
			set(k, v)
		}
	}
	before, had := rs.Annotations[revisionAnnotation]
	n, err := strconv.ParseInt(before, 10, 64)
	if err != nil {
		if before != "" {
			return false // someone wrote nonsense there; leave the ReplicaSet alone
		}
		n = 0
	}
	if n >= newRevision {
		return changed
	}
	set(revisionAnnotation, strconv.FormatInt(newRevision, 10))
	if had {
		if history, ok := appendRevision(rs.Annotations[revisionHistoryAnnotation], before); ok {
			set(revisionHistoryAnnotation, history)
		}
	}
	return changed
}

// appendRevision adds a revision to the comma separated history, dropping the
// oldest to stay within the limit.
func appendRevision(history, revision string) (string, bool) {
	if history == "" {
		return revision, true
	}
	parts := strings.Split(history, ",")
	total := len(history) + len(revision) + 1
	for total > maxRevisionHistory && len(parts) > 0 {
		total -= len(parts[0]) + 1
		parts = parts[1:]
	}
	if total > maxRevisionHistory {
		return "", false
	}
	return strings.Join(append(parts, revision), ","), true
}

// annotateReplicas records what the deployment wants and may have at most, by
// which a later change of scale is told from a rollout. It changes rs and
// reports whether it did.
func annotateReplicas(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	want := strconv.Itoa(int(desired(d)))
	most := strconv.Itoa(int(desired(d) + maxSurge(d)))
	if rs.Annotations[desiredReplicasAnnotation] == want && rs.Annotations[maxReplicasAnnotation] == most {
		return false
	}
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	rs.Annotations[desiredReplicasAnnotation] = want
	rs.Annotations[maxReplicasAnnotation] = most
	return true
}

// countAnnotation reads a number of replicas from an annotation.
func countAnnotation(rs *appsv1.ReplicaSet, key string) (int32, bool) {
	n, err := strconv.ParseUint(rs.Annotations[key], 10, 32)
	if err != nil || n > math.MaxInt32 {
		return 0, false
	}
	return int32(n), true
}

func revision(rs *appsv1.ReplicaSet) (int64, bool) {
	v, ok := rs.Annotations[revisionAnnotation]
	if !ok {
		return 0, true
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}

// maxRevision is the highest revision among the ReplicaSets; unreadable ones are skipped.
func maxRevision(sets []*appsv1.ReplicaSet) int64 {
	highest := int64(0)
	for _, rs := range sets {
		if n, ok := revision(rs); ok {
			highest = max(highest, n)
		}
	}
	return highest
}

// scalingEvent reports whether spec.replicas changed since an active
// ReplicaSet was last written: then the change is spread first.
func scalingEvent(d *appsv1.Deployment, newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) bool {
	for _, rs := range activeSets(append(append([]*appsv1.ReplicaSet(nil), old...), newRS)) {
		if n, ok := countAnnotation(rs, desiredReplicasAnnotation); ok && n != desired(d) {
			return true
		}
	}
	return false
}

// surplusReplicaSets are the old ReplicaSets beyond revisionHistoryLimit that
// can be deleted: lowest revision first, none with pods.
func surplusReplicaSets(d *appsv1.Deployment, old []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	if d.Spec.RevisionHistoryLimit == nil || *d.Spec.RevisionHistoryLimit == math.MaxInt32 {
		return nil
	}
	var alive []*appsv1.ReplicaSet
	for _, rs := range old {
		if rs.DeletionTimestamp == nil {
			alive = append(alive, rs)
		}
	}
	surplus := len(alive) - int(*d.Spec.RevisionHistoryLimit)
	if surplus <= 0 {
		return nil
	}
	sort.SliceStable(alive, func(i, j int) bool {
		a, okA := revision(alive[i])
		b, okB := revision(alive[j])
		if !okA || !okB || a == b {
			return older(alive[i], alive[j])
		}
		return a < b
	})
	var out []*appsv1.ReplicaSet
	for _, rs := range alive[:surplus] {
		if rs.Status.Replicas == 0 && size(rs) == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			out = append(out, rs)
		}
	}
	return out
}
