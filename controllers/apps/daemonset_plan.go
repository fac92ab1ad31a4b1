package apps

import (
	"slices"
	"sort"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	schedulinghelpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"proa/controllers/control"
)

// templateGenerationLabel is the label of pods from before revisions had hashes.
const templateGenerationLabel = "pod-template-generation"

// placement decides where a DaemonSet's pods belong. It is made once per
// reconciliation.
type placement struct {
	nodeName    string
	affinity    nodeaffinity.RequiredNodeAffinity
	tolerations []corev1.Toleration
	logger      klog.Logger
}

func newPlacement(ds *appsv1.DaemonSet, logger klog.Logger) placement {
	pod := &corev1.Pod{Spec: *ds.Spec.Template.Spec.DeepCopy()}
	addDaemonTolerations(&pod.Spec)
	return placement{
		nodeName:    pod.Spec.NodeName,
		affinity:    nodeaffinity.GetRequiredNodeAffinity(pod),
		tolerations: pod.Spec.Tolerations,
		logger:      logger,
	}
}

// at reports whether a pod should run on the node if there is none, and
// whether one that is there may stay.
func (p placement) at(node *corev1.Node) (run, stay bool) {
	if p.nodeName != "" && p.nodeName != node.Name {
		return false, false
	}
	if ok, err := p.affinity.Match(node); err != nil || !ok {
		return false, false
	}
	untolerated := func(effects ...corev1.TaintEffect) bool {
		_, found := schedulinghelpers.FindMatchingUntoleratedTaint(p.logger, node.Spec.Taints, p.tolerations, func(t *corev1.Taint) bool {
			return slices.Contains(effects, t.Effect)
		}, true)
		return found
	}
	if untolerated(corev1.TaintEffectNoExecute, corev1.TaintEffectNoSchedule) {
		return false, !untolerated(corev1.TaintEffectNoExecute)
	}
	return true, true
}

// addDaemonTolerations lets a daemon's pods run on nodes in trouble.
func addDaemonTolerations(spec *corev1.PodSpec) {
	add := func(key string, effect corev1.TaintEffect) {
		t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: effect}
		for i := range spec.Tolerations {
			if spec.Tolerations[i].MatchToleration(&t) {
				spec.Tolerations[i] = t
				return
			}
		}
		spec.Tolerations = append(spec.Tolerations, t)
	}
	add(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodePIDPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	if spec.HostNetwork {
		add(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule)
	}
}

// daemonPod makes the pod for a node. The scheduler binds it: its affinity
// admits that node only.
func daemonPod(ds *appsv1.DaemonSet, node, hash string) *corev1.Pod {
	p := control.PodFromTemplate(&ds.Spec.Template, ds, daemonSetKind)
	addDaemonTolerations(&p.Spec)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	if g, ok := templateGeneration(ds); ok {
		p.Labels[templateGenerationLabel] = g
	}
	p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] = hash
	terms := []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
		Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
	}}}}
	if p.Spec.Affinity == nil {
		p.Spec.Affinity = &corev1.Affinity{}
	}
	if p.Spec.Affinity.NodeAffinity == nil {
		p.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: terms}
	return p
}

func templateGeneration(ds *appsv1.DaemonSet) (string, bool) {
	g, ok := ds.Annotations[appsv1.DeprecatedTemplateGeneration]
	if !ok {
		return "", false
	}
	if _, err := strconv.ParseInt(g, 10, 64); err != nil {
		return "", false
	}
	return g, true
}

// updatedPod reports whether the pod is of the present template.
func updatedPod(ds *appsv1.DaemonSet, p *corev1.Pod, hash string) bool {
	if hash != "" && p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == hash {
		return true
	}
	g, ok := templateGeneration(ds)
	return ok && p.Labels[templateGenerationLabel] == g
}

// targetNode is the node a daemon's pod is bound to or made for; "" if it cannot be told.
func targetNode(p *corev1.Pod) string {
	if p.Spec.NodeName != "" {
		return p.Spec.NodeName
	}
	a := p.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range term.MatchFields {
			if f.Key == metav1.ObjectNameField && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}

// byNode groups pods by node, oldest first, bound ones before others. Pods
// that have ended and are being deleted are left out unless ended is set.
func byNode(pods []*corev1.Pod, ended bool) map[string][]*corev1.Pod {
	out := map[string][]*corev1.Pod{}
	for _, p := range pods {
		if !ended && control.PodTerminal(p) && p.DeletionTimestamp != nil {
			continue
		}
		if n := targetNode(p); n != "" {
			out[n] = append(out[n], p)
		}
	}
	for _, list := range out {
		sort.SliceStable(list, func(i, j int) bool {
			a, b := list[i], list[j]
			if (a.Spec.NodeName != "") != (b.Spec.NodeName != "") {
				return a.Spec.NodeName != ""
			}
			if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
				return a.Name < b.Name
			}
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		})
	}
	return out
}

// daemonState is what a plan is made from.
type daemonState struct {
	ds    *appsv1.DaemonSet
	hash  string
	nodes []*corev1.Node
	place placement
	pods  map[string][]*corev1.Pod
	now   time.Time
}

// daemonPlan is what to do now.
type daemonPlan struct {
	// create names the nodes that get a pod.
	create []string
	delete []*corev1.Pod
	// failed and succeeded are those of delete that ended by themselves; failed
	// ones are subject to backoff.
	failed, succeeded []*corev1.Pod
}

func (s *daemonState) available(p *corev1.Pod) bool {
	return p != nil && control.PodAvailable(p, s.ds.Spec.MinReadySeconds, s.now)
}

// manage decides which nodes lack a pod and which pods are too many.
func (s *daemonState) manage() daemonPlan {
	var plan daemonPlan
	known := map[string]bool{}
	for _, node := range s.nodes {
		known[node.Name] = true
		s.manageNode(node, &plan)
	}
	// Pods made for nodes that are gone can never be bound.
	for _, name := range sortedKeys(s.pods) {
		if known[name] {
			continue
		}
		for _, p := range s.pods[name] {
			if p.Spec.NodeName == "" && p.DeletionTimestamp == nil {
				plan.delete = append(plan.delete, p)
			}
		}
	}
	return plan
}

func (s *daemonState) manageNode(node *corev1.Node, plan *daemonPlan) {
	run, stay := s.place.at(node)
	pods, exists := s.pods[node.Name]
	if !stay {
		for _, p := range pods {
			if p.DeletionTimestamp == nil {
				plan.delete = append(plan.delete, p)
			}
		}
		return
	}
	if !exists {
		if run {
			plan.create = append(plan.create, node.Name)
		}
		return
	}
	var running []*corev1.Pod
	for _, p := range pods {
		switch {
		case p.DeletionTimestamp != nil:
		case p.Status.Phase == corev1.PodFailed:
			plan.failed = append(plan.failed, p)
		case p.Status.Phase == corev1.PodSucceeded:
			plan.succeeded = append(plan.succeeded, p)
		default:
			running = append(running, p)
		}
	}
	if surge, err := surgeCount(s.ds, 1); err != nil || surge == 0 {
		// One pod per node; the oldest stays.
		plan.delete = append(plan.delete, running[min(1, len(running)):]...)
		return
	}
	if len(running) == 0 && run {
		plan.create = append(plan.create, node.Name)
	}
	if len(running) <= 1 {
		return
	}
	// While surging, one old and one new pod may be there, until the new one is
	// available or the old one is not ready.
	var newPod, oldPod *corev1.Pod
	for _, p := range running {
		switch isNew := p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == s.hash; {
		case isNew && newPod == nil:
			newPod = p
		case !isNew && oldPod == nil:
			oldPod = p
		default:
			plan.delete = append(plan.delete, p)
		}
	}
	if newPod != nil && oldPod != nil && (!control.PodReady(oldPod) || s.available(newPod)) {
		plan.delete = append(plan.delete, oldPod)
	}
}

// pair finds the one new and the one old pod among a node's pods; ok is false
// if there are more, which manage prunes.
func (s *daemonState) pair(pods []*corev1.Pod) (newPod, oldPod *corev1.Pod, ok bool) {
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		slot := &oldPod
		if updatedPod(s.ds, p, s.hash) {
			slot = &newPod
		}
		if *slot != nil {
			return nil, nil, false
		}
		*slot = p
	}
	return newPod, oldPod, true
}

// rollingUpdate decides which old pods go, or which nodes get a second pod.
func (s *daemonState) rollingUpdate() daemonPlan {
	desired := 0
	shouldRun := map[string]bool{}
	names := sortedKeys(s.pods)
	for _, node := range s.nodes {
		if run, _ := s.place.at(node); run {
			desired++
			shouldRun[node.Name] = true
			if _, ok := s.pods[node.Name]; !ok {
				names = append(names, node.Name)
			}
		}
	}
	surge, errS := surgeCount(s.ds, desired)
	unavailable, errU := unavailableCount(s.ds, desired)
	if errS != nil || errU != nil {
		return daemonPlan{} // validation refuses such values
	}
	if surge > 0 {
		return s.surge(names, shouldRun, desired, surge)
	}
	if desired > 0 && unavailable == 0 {
		unavailable = 1
	}
	return s.replace(names, unavailable)
}

// replace deletes old pods, those that are not available first, so that at most
// limit nodes are without an available pod.
func (s *daemonState) replace(names []string, limit int) daemonPlan {
	missing := 0
	var broken, candidates []*corev1.Pod
	for _, name := range names {
		newPod, oldPod, ok := s.pair(s.pods[name])
		switch {
		case !ok, (newPod == nil) == (oldPod == nil):
			missing++
		case newPod != nil:
			if !s.available(newPod) {
				missing++
			}
		case !s.available(oldPod):
			broken = append(broken, oldPod)
			missing++
		default:
			candidates = append(candidates, oldPod)
		}
	}
	n := min(max(0, limit-missing), len(candidates))
	return daemonPlan{delete: append(broken, candidates[:n]...)}
}

// surge makes new pods beside old ones, at most limit at a time, and deletes
// old ones whose successor is available.
func (s *daemonState) surge(names []string, shouldRun map[string]bool, desired, limit int) daemonPlan {
	var plan daemonPlan
	var misplaced []*corev1.Pod
	var candidates []string
	surging, available := 0, 0
	for _, name := range names {
		newPod, oldPod, ok := s.pair(s.pods[name])
		if !ok {
			surging++
			continue
		}
		if s.available(oldPod) || (oldPod == nil && s.available(newPod)) {
			available++
		}
		switch {
		case oldPod == nil:
		case newPod != nil && !s.available(newPod):
			surging++
		case newPod != nil:
			plan.delete = append(plan.delete, oldPod)
		case !s.available(oldPod) && shouldRun[name]:
			plan.create = append(plan.create, name)
		case !s.available(oldPod):
			plan.delete = append(plan.delete, oldPod)
		case !shouldRun[name]:
			misplaced = append(misplaced, oldPod)
		default:
			candidates = append(candidates, name)
		}
	}
	// Pods on nodes that no longer fit go once there are enough elsewhere.
	plan.delete = append(plan.delete, misplaced[:min(max(0, available-desired), len(misplaced))]...)
	plan.create = append(plan.create, candidates[:min(max(0, limit-surging), len(candidates))]...)
	return plan
}

func surgeCount(ds *appsv1.DaemonSet, nodes int) (int, error) {
	r := ds.Spec.UpdateStrategy.RollingUpdate
	if ds.Spec.UpdateStrategy.Type != appsv1.RollingUpdateDaemonSetStrategyType || r == nil || r.MaxSurge == nil {
		return 0, nil
	}
	return intstr.GetScaledValueFromIntOrPercent(r.MaxSurge, nodes, true)
}

func unavailableCount(ds *appsv1.DaemonSet, nodes int) (int, error) {
	r := ds.Spec.UpdateStrategy.RollingUpdate
	if ds.Spec.UpdateStrategy.Type != appsv1.RollingUpdateDaemonSetStrategyType || r == nil {
		return 0, nil
	}
	return intstr.GetScaledValueFromIntOrPercent(ptr.To(ptr.Deref(r.MaxUnavailable, intstr.FromInt32(0))), nodes, true)
}

// status counts nodes.
func (s *daemonState) status(observed bool) appsv1.DaemonSetStatus {
	st := *s.ds.Status.DeepCopy()
	st.DesiredNumberScheduled, st.CurrentNumberScheduled, st.NumberMisscheduled = 0, 0, 0
	st.NumberReady, st.UpdatedNumberScheduled, st.NumberAvailable = 0, 0, 0
	for _, node := range s.nodes {
		run, _ := s.place.at(node)
		pods := s.pods[node.Name]
		switch {
		case !run && len(pods) > 0:
			st.NumberMisscheduled++
		case run:
			st.DesiredNumberScheduled++
			if len(pods) == 0 {
				continue
			}
			st.CurrentNumberScheduled++
			if control.PodReady(pods[0]) {
				st.NumberReady++
				if s.available(pods[0]) {
					st.NumberAvailable++
				}
			}
			if updatedPod(s.ds, pods[0], s.hash) {
				st.UpdatedNumberScheduled++
			}
		}
	}
	st.NumberUnavailable = st.DesiredNumberScheduled - st.NumberAvailable
	if observed {
		st.ObservedGeneration = s.ds.Generation
	}
	return st
}

func sortedKeys(m map[string][]*corev1.Pod) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
