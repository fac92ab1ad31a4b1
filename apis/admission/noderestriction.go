package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"proa/apis/admission/podrefs"
)

// nodeRestriction limits what a node agent may write, beyond what the Node
// authorizer can see from outside the object: its own Node, its own Lease, pods
// bound to it, tokens of these pods.
type nodeRestriction struct {
	*admission.Handler
	client     kubernetes.Interface
	pods       corelisters.PodLister
	nodes      corelisters.NodeLister
	authorizer authorizer.UnconditionalAuthorizer
}

func newNodeRestriction(f informers.SharedInformerFactory, client kubernetes.Interface, a authorizer.UnconditionalAuthorizer) *nodeRestriction {
	return &nodeRestriction{admission.NewHandler(admission.Create, admission.Update, admission.Delete), client, f.Core().V1().Pods().Lister(), f.Core().V1().Nodes().Lister(), a}
}

// nodeIdentity is the node that a user is, as in authz.
func nodeIdentity(u user.Info) (string, bool) {
	if u == nil {
		return "", false
	}
	name, ok := strings.CutPrefix(u.GetName(), "system:node:")
	return name, ok && slices.Contains(u.GetGroups(), user.NodesGroup)
}

// Admit implements admission.MutationInterface: refusals come before other plugins change anything.
func (n *nodeRestriction) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	node, is := nodeIdentity(a.GetUserInfo())
	if !is {
		return nil
	}
	if node == "" {
		return admission.NewForbidden(a, fmt.Errorf("could not determine node from user %q", a.GetUserInfo().GetName()))
	}
	err := n.check(ctx, node, a)
	if err == nil || apierrors.IsNotFound(err) {
		return err
	}
	return admission.NewForbidden(a, err)
}

func (n *nodeRestriction) check(ctx context.Context, node string, a admission.Attributes) error {
	switch gr := a.GetResource().GroupResource(); gr.Group + "/" + gr.Resource {
	case "/pods":
		switch a.GetSubresource() {
		case "":
			return n.pod(ctx, node, a)
		case "status":
			return podStatus(node, a)
		case "eviction":
			return n.eviction(ctx, node, a)
		}
		return fmt.Errorf("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", a.GetSubresource())
	case "/nodes":
		return ownNode(node, a)
	case "/persistentvolumeclaims":
		if a.GetSubresource() != "status" {
			return errors.New("may only update PVC status")
		}
		return claimStatus(node, a)
	case "/serviceaccounts":
		return n.token(ctx, node, a)
	case "coordination.k8s.io/leases":
		if a.GetNamespace() != corev1.NamespaceNodeLease {
			return fmt.Errorf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
		}
		if objectName(a) != node {
			return errors.New("can only access node lease with the same name as the requesting node")
		}
	case "storage.k8s.io/csinodes":
		if objectName(a) != node {
			return errors.New("can only access CSINode with the same name as the requesting node")
		}
	case "resource.k8s.io/resourceslices":
		return resourceSlice(node, a)
	case "certificates.k8s.io/certificatesigningrequests":
		return nodeRequest(node, a)
	}
	return nil
}

// objectName is the name a request is for; on create only the object has it.
func objectName(a admission.Attributes) string {
	if a.GetOperation() != admission.Create {
		return a.GetName()
	}
	m, err := meta.Accessor(a.GetObject())
	if err != nil {
		return ""
	}
	return m.GetName()
}

// bound reads a pod that the node takes for its own: from the cache, or, where
// that does not agree (yet), from the API.
func (n *nodeRestriction) bound(ctx context.Context, node, namespace, name string) (*corev1.Pod, error) {
	if pod, err := n.pods.Pods(namespace).Get(name); err == nil && pod.Spec.NodeName == node {
		return pod, nil
	}
	return n.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
}

// pod: nodes create mirror pods bound to and owned by themselves, and delete pods bound to them.
func (n *nodeRestriction) pod(ctx context.Context, node string, a admission.Attributes) error {
	switch a.GetOperation() {
	case admission.Create:
	case admission.Delete:
		pod, err := n.bound(ctx, node, a.GetNamespace(), a.GetName())
		if err != nil {
			return err
		}
		if pod.Spec.NodeName != node {
			return fmt.Errorf("node %q can only delete pods with spec.nodeName set to itself", node)
		}
		return nil
	default:
		return fmt.Errorf("unexpected operation %q, node %q can only create and delete mirror pods", a.GetOperation(), node)
	}
	pod, ok := a.GetObject().(*corev1.Pod)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	switch {
	case !isMirror(pod):
		return fmt.Errorf("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
	case pod.Spec.NodeName != node:
		return fmt.Errorf("node %q can only create pods with spec.nodeName set to itself", node)
	case len(pod.OwnerReferences) > 1:
		return fmt.Errorf("node %q can only create pods with a single owner reference set to itself", node)
	case len(pod.OwnerReferences) == 0:
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", node)
	}
	owner := pod.OwnerReferences[0]
	switch {
	case owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != node:
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", node)
	case owner.Controller == nil || !*owner.Controller:
		return fmt.Errorf("node %q can only create pods with a controller owner reference set to itself", node)
	case owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion:
		return fmt.Errorf("node %q must not set blockOwnerDeletion on an owner reference", node)
	}
	own, err := n.nodes.Get(node)
	if err != nil {
		return err
	}
	if owner.UID != own.UID {
		return fmt.Errorf("node %s UID mismatch: expected %s got %s", node, owner.UID, own.UID)
	}
	refers := mirrorTokens(pod)
	podrefs.Visit(pod, func(resource, _ string) { refers = resource })
	if refers != "" {
		return fmt.Errorf("node %q can not create pods that reference %s", node, refers)
	}
	return nil
}

// mirrorTokens is the resource a pod refers to by projecting tokens or bundles.
func mirrorTokens(pod *corev1.Pod) string {
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			switch {
			case s.ServiceAccountToken != nil:
				return "serviceaccounts"
			case s.ClusterTrustBundle != nil:
				return "clustertrustbundles"
			}
		}
	}
	return ""
}

func podStatus(node string, a admission.Attributes) error {
	if a.GetOperation() != admission.Update {
		return fmt.Errorf("unexpected operation %q", a.GetOperation())
	}
	pod, ok := a.GetObject().(*corev1.Pod)
	old, ok2 := a.GetOldObject().(*corev1.Pod)
	switch {
	case !ok || !ok2:
		return fmt.Errorf("unexpected type %T", a.GetObject())
	case old.Spec.NodeName != node:
		return fmt.Errorf("node %q can only update pod status for pods with spec.nodeName set to itself", node)
	case !equality.Semantic.DeepEqual(old.Labels, pod.Labels):
		return fmt.Errorf("node %q cannot update labels through pod status", node)
	case !equality.Semantic.DeepEqual(old.Status.ResourceClaimStatuses, pod.Status.ResourceClaimStatuses):
		return fmt.Errorf("node %q cannot update resource claim statues", node)
	case !equality.Semantic.DeepEqual(old.Status.ExtendedResourceClaimStatus, pod.Status.ExtendedResourceClaimStatus):
		return fmt.Errorf("node %q cannot update extended resource claim status", node)
	}
	return nil
}

func (n *nodeRestriction) eviction(ctx context.Context, node string, a admission.Attributes) error {
	if a.GetOperation() != admission.Create {
		return fmt.Errorf("unexpected operation %s", a.GetOperation())
	}
	e, ok := a.GetObject().(*policyv1.Eviction)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	name := a.GetName()
	if name == "" {
		name = e.Name
	}
	if name == "" {
		return errors.New("could not determine pod from request data")
	}
	pod, err := n.bound(ctx, node, a.GetNamespace(), name)
	if err != nil {
		return err
	}
	if pod.Spec.NodeName != node {
		return fmt.Errorf("node %s can only evict pods with spec.nodeName set to itself", node)
	}
	return nil
}

func ownNode(node string, a admission.Attributes) error {
	if name := objectName(a); name != node {
		return fmt.Errorf("node %q is not allowed to modify node %q", node, name)
	}
	obj, ok := a.GetObject().(*corev1.Node)
	switch a.GetOperation() {
	case admission.Create:
		if !ok {
			return fmt.Errorf("unexpected type %T", a.GetObject())
		}
		if obj.Spec.ConfigSource != nil {
			return fmt.Errorf("node %q is not allowed to create pods with a non-nil configSource", node)
		}
		if labels := forbiddenLabels(obj.Labels, nil); len(labels) > 0 {
			return fmt.Errorf("node %q is not allowed to set the following labels: %s", node, strings.Join(labels, ", "))
		}
	case admission.Update:
		old, ok2 := a.GetOldObject().(*corev1.Node)
		switch {
		case !ok || !ok2:
			return fmt.Errorf("unexpected type %T", a.GetObject())
		case obj.Spec.ConfigSource != nil && !equality.Semantic.DeepEqual(obj.Spec.ConfigSource, old.Spec.ConfigSource):
			return fmt.Errorf("node %q is not allowed to update configSource to a new non-nil configSource", node)
		case !equality.Semantic.DeepEqual(obj.Spec.Taints, old.Spec.Taints):
			return fmt.Errorf("node %q is not allowed to modify taints", node)
		case !equality.Semantic.DeepEqual(obj.OwnerReferences, old.OwnerReferences):
			return fmt.Errorf("node %q is not allowed to modify ownerReferences", node)
		}
		if labels := forbiddenLabels(obj.Labels, old.Labels); len(labels) > 0 {
			return fmt.Errorf("is not allowed to modify labels: %s", strings.Join(labels, ", "))
		}
	}
	return nil
}

// forbiddenLabels are the changed labels by which a node could attract pods that
// are not meant for it: those reserved for administrators, and unknown ones of
// the project's own domains.
func forbiddenLabels(labels, old map[string]string) []string {
	var out []string
	check := func(key string) {
		domain, _, ok := strings.Cut(key, "/")
		if !ok {
			return
		}
		within := func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }
		if within(corev1.LabelNamespaceNodeRestriction) ||
			((within("kubernetes.io") || within("k8s.io")) && !kubeletapis.IsKubeletLabel(key)) {
			out = append(out, key)
		}
	}
	for k, v := range labels {
		if was, ok := old[k]; !ok || was != v {
			check(k)
		}
	}
	for k := range old {
		if _, ok := labels[k]; !ok {
			check(k)
		}
	}
	slices.Sort(out)
	return out
}

func claimStatus(node string, a admission.Attributes) error {
	if a.GetOperation() != admission.Update {
		return fmt.Errorf("unexpected operation %q", a.GetOperation())
	}
	pvc, ok := a.GetObject().(*corev1.PersistentVolumeClaim)
	old, ok2 := a.GetOldObject().(*corev1.PersistentVolumeClaim)
	if !ok || !ok2 {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	// Apart from what nodes report, nothing may differ.
	plain := func(p *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
		p = p.DeepCopy()
		p.ResourceVersion, p.ManagedFields = "", nil
		p.Status.Capacity, p.Status.Conditions = nil, nil
		p.Status.AllocatedResourceStatuses, p.Status.AllocatedResources = nil, nil
		return p
	}
	if !equality.Semantic.DeepEqual(plain(old), plain(pvc)) {
		return fmt.Errorf("node %q is not allowed to update fields other than status.quantity and status.conditions", node)
	}
	return nil
}

// token: only for a pod of this node, and only for an audience the pod asks for.
func (n *nodeRestriction) token(ctx context.Context, node string, a admission.Attributes) error {
	if a.GetOperation() != admission.Create || a.GetSubresource() != "token" {
		return nil
	}
	tr, ok := a.GetObject().(*authenticationv1.TokenRequest)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	ref := tr.Spec.BoundObjectRef
	switch {
	case ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "":
		return errors.New("node requested token not bound to a pod")
	case ref.UID == "":
		return errors.New("node requested token with a pod binding without a uid")
	}
	pod, err := n.bound(ctx, node, a.GetNamespace(), ref.Name)
	if err != nil {
		return err
	}
	switch {
	case ref.UID != pod.UID:
		return fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case pod.Spec.NodeName != node:
		return errors.New("node requested token bound to a pod scheduled on a different node")
	}
	return n.audience(ctx, a, pod, tr.Spec.Audiences)
}

func (n *nodeRestriction) audience(ctx context.Context, a admission.Attributes, pod *corev1.Pod, audiences []string) error {
	if len(audiences) > 1 {
		return errors.New("node may only request 0 or 1 audiences")
	}
	audience := strings.Join(audiences, "")
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == audience {
				return nil
			}
		}
	}
	decision, _, err := n.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: a.GetUserInfo(), Verb: "request-serviceaccounts-token-audience", Namespace: a.GetNamespace(),
		APIVersion: "v1", Resource: audience, Name: a.GetName(), ResourceRequest: true,
	})
	switch {
	case decision == authorizer.DecisionAllow:
		return nil
	case err != nil:
		return fmt.Errorf("audience %q not found in pod spec volume, error authorizing %s to request tokens for this audience: %w", audience, a.GetUserInfo().GetName(), err)
	}
	return fmt.Errorf("audience %q not found in pod spec volume, %s is not authorized to request tokens for this audience", audience, a.GetUserInfo().GetName())
}

func resourceSlice(node string, a admission.Attributes) error {
	own := func(o runtime.Object) bool {
		s, ok := o.(*resourcev1.ResourceSlice)
		return ok && s.Spec.NodeName != nil && *s.Spec.NodeName == node
	}
	switch {
	case a.GetOperation() == admission.Create && !own(a.GetObject()):
		return errors.New("can only create ResourceSlice with the same NodeName as the requesting node")
	case a.GetOperation() == admission.Delete && !own(a.GetOldObject()):
		return errors.New("can only delete ResourceSlice with the same NodeName as the requesting node")
	}
	return nil
}

// nodeRequest: a node asks for certificates of its own name only.
func nodeRequest(node string, a admission.Attributes) error {
	obj, ok := a.GetObject().(*certificatesv1.CertificateSigningRequest)
	if a.GetOperation() != admission.Create || a.GetSubresource() != "" {
		return nil
	}
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	if s := obj.Spec.SignerName; s != certificatesv1.KubeletServingSignerName && s != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	r, err := parseRequest(obj.Spec.Request)
	if err != nil {
		return fmt.Errorf("unable to parse csr: %w", err)
	}
	if r.Subject.CommonName != "system:node:"+node {
		return fmt.Errorf("can only create a node CSR with CN=system:node:%s", node)
	}
	return nil
}
