package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Node authorizes node agents: fixed rules, and for objects of pods only those
// that the node's own pods need (KEP-279 and its successors). It allows or has
// no opinion.
type Node struct {
	graph *Graph
	rules []rbacv1.PolicyRule
	// patience is how long a question about an object of a pod waits for the graph.
	patience time.Duration
}

var _ resolving = &Node{}

// NewNode authorizes by graph and, for what it does not subdivide, by rules.
func NewNode(graph *Graph, rules []rbacv1.PolicyRule) *Node {
	return &Node{graph: graph, rules: rules, patience: 100 * time.Millisecond}
}

// NodeIdentity is the node a user is: the name, which is empty for a member of
// system:nodes without one, and whether it is a node at all.
func NodeIdentity(u user.Info) (name string, isNode bool) {
	if u == nil {
		return "", false
	}
	name, ok := strings.CutPrefix(u.GetName(), "system:node:")
	if !ok || !slices.Contains(u.GetGroups(), user.NodesGroup) {
		return "", false
	}
	return name, true
}

// Authorize implements authorizer.Authorizer.
func (n *Node) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	node, isNode := NodeIdentity(a.GetUser())
	if !isNode {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if node == "" {
		return authorizer.DecisionNoOpinion, fmt.Sprintf("unknown node for user %q", a.GetUser().GetName()), nil
	}
	if why := n.refuses(ctx, node, a); why != nil {
		return authorizer.DecisionNoOpinion, why.Error(), nil
	}
	return authorizer.DecisionAllow, "", nil
}

// ConditionsAwareAuthorize implements authorizer.Authorizer; there are no conditions.
func (n *Node) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(n.Authorize(ctx, a))
}

// EvaluateConditions implements authorizer.Authorizer.
func (*Node) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// errSilent refuses without a reason for the user.
var errSilent = errors.New("")

// refuses returns why a node may not do this, nil if it may.
func (n *Node) refuses(ctx context.Context, node string, a authorizer.Attributes) error {
	if a.IsResourceRequest() {
		switch a.GetAPIGroup() + "/" + a.GetResource() {
		case "/secrets", "/configmaps":
			return n.read(ctx, node, a)
		case "/persistentvolumeclaims":
			if a.GetSubresource() == "status" {
				if !verb(a, "update", "patch") {
					return errors.New("can only get/update/patch this type")
				}
				return n.related(ctx, node, a)
			}
			return n.get(ctx, node, a)
		case "/persistentvolumes", "resource.k8s.io/resourceclaims", "storage.k8s.io/volumeattachments":
			return n.get(ctx, node, a)
		case "/serviceaccounts":
			return n.serviceAccount(ctx, node, a)
		case "coordination.k8s.io/leases":
			return lease(node, a)
		case "storage.k8s.io/csinodes":
			return csiNode(node, a)
		case "resource.k8s.io/resourceslices":
			return n.resourceSlice(ctx, node, a)
		case "certificates.k8s.io/podcertificaterequests":
			return n.podCertificateRequest(ctx, node, a)
		case "/nodes":
			return ownNode(node, a)
		case "/pods":
			return n.pod(ctx, node, a)
		}
	}
	if RulesAllow(a, n.rules) {
		return nil
	}
	return errSilent
}

func verb(a authorizer.Attributes, verbs ...string) bool { return slices.Contains(verbs, a.GetVerb()) }

func (n *Node) related(ctx context.Context, node string, a authorizer.Attributes) error {
	if a.GetName() == "" {
		return errors.New("No Object name found") //nolint:staticcheck // upstream's words
	}
	if n.graph.Related(node, a.GetResource(), a.GetNamespace(), a.GetName()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.patience)
	defer cancel()
	if n.graph.Await(ctx, node, a.GetResource(), a.GetNamespace(), a.GetName()) {
		return nil
	}
	return fmt.Errorf("no relationship found between node '%s' and this object", node)
}

func (n *Node) get(ctx context.Context, node string, a authorizer.Attributes) error {
	switch {
	case a.GetVerb() != "get":
		return errors.New("can only get individual resources of this type")
	case a.GetSubresource() != "":
		return errors.New("cannot get subresource")
	}
	return n.related(ctx, node, a)
}

func (n *Node) read(ctx context.Context, node string, a authorizer.Attributes) error {
	switch {
	case !verb(a, "get", "list", "watch"):
		return errors.New("can only read resources of this type")
	case a.GetSubresource() != "":
		return errors.New("cannot read subresource")
	case a.GetNamespace() == "":
		return errors.New("can only read namespaced object of this type")
	}
	return n.related(ctx, node, a)
}

func (n *Node) serviceAccount(ctx context.Context, node string, a authorizer.Attributes) error {
	if a.GetVerb() == "get" && a.GetSubresource() == "" {
		return n.read(ctx, node, a)
	}
	switch {
	case a.GetVerb() != "create" || a.GetName() == "":
		return errors.New("can only create tokens for individual service accounts")
	case a.GetSubresource() != "token":
		return errors.New("can only create token subresource of serviceaccount")
	}
	return n.related(ctx, node, a)
}

// lease: on create the name is not known yet; the NodeRestriction plugin checks it.
func lease(node string, a authorizer.Attributes) error {
	switch {
	case !verb(a, "get", "create", "update", "patch", "delete"):
		return errors.New("can only get, create, update, patch, or delete a node lease")
	case a.GetNamespace() != corev1.NamespaceNodeLease:
		return fmt.Errorf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	case a.GetVerb() != "create" && a.GetName() != node:
		return errors.New("can only access node lease with the same name as the requesting node")
	}
	return nil
}

func csiNode(node string, a authorizer.Attributes) error {
	switch {
	case !verb(a, "get", "create", "update", "patch", "delete"):
		return errors.New("can only get, create, update, patch, or delete a CSINode")
	case a.GetSubresource() != "":
		return errors.New("cannot authorize CSINode subresources")
	case a.GetVerb() != "create" && a.GetName() != node:
		return errors.New("can only access CSINode with the same name as the requesting node")
	}
	return nil
}

// resourceSlice: on create the node is not known yet; NodeRestriction checks it.
func (n *Node) resourceSlice(ctx context.Context, node string, a authorizer.Attributes) error {
	if a.GetSubresource() != "" {
		return errors.New("cannot authorize ResourceSlice subresources")
	}
	switch a.GetVerb() {
	case "create":
		return nil
	case "get", "update", "patch", "delete":
		return n.related(ctx, node, a)
	case "watch", "list", "deletecollection":
		if selects(a, "spec.nodeName", node) {
			return nil
		}
		return errors.New("can only list/watch/deletecollection resourceslices with nodeName field selector")
	}
	return errors.New("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection")
}

// podCertificateRequest: what a create asks for is checked by NodeRestriction.
func (n *Node) podCertificateRequest(ctx context.Context, node string, a authorizer.Attributes) error {
	if a.GetSubresource() != "" {
		return errors.New("nodes may not access the status subresource of PodCertificateRequests")
	}
	switch a.GetVerb() {
	case "create":
		return nil
	case "get":
		return n.related(ctx, node, a)
	case "list", "watch":
		if selects(a, "spec.nodeName", node) {
			return nil
		}
		return errors.New("can only list/watch podcertificaterequests with nodeName field selector")
	}
	return fmt.Errorf("nodes may not %s podcertificaterequests", a.GetVerb())
}

// ownNode: which Node object a write is for is checked by the NodeRestriction plugin.
func ownNode(node string, a authorizer.Attributes) error {
	switch a.GetSubresource() {
	case "":
		if verb(a, "create", "update", "patch") {
			return nil
		}
		if verb(a, "get", "list", "watch") {
			switch a.GetName() {
			case node:
				return nil
			case "":
				return fmt.Errorf("node '%s' cannot read all nodes, only its own Node object", node)
			}
			return fmt.Errorf("node '%s' cannot read '%s', only its own Node object", node, a.GetName())
		}
	case "status":
		if verb(a, "update", "patch") {
			return nil
		}
	}
	return errSilent
}

func (n *Node) pod(ctx context.Context, node string, a authorizer.Attributes) error {
	switch a.GetSubresource() {
	case "":
		switch a.GetVerb() {
		case "get":
			return n.get(ctx, node, a)
		case "list", "watch":
			if selects(a, "spec.nodeName", node) {
				return nil
			}
			if a.GetName() != "" {
				return n.related(ctx, node, a)
			}
			return errors.New("can only list/watch pods with spec.nodeName field selector")
		case "create", "delete": // mirror pods; NodeRestriction limits them
			return nil
		}
	case "status":
		if verb(a, "update", "patch") {
			return nil
		}
	case "eviction":
		if a.GetVerb() == "create" {
			return nil
		}
	}
	return errSilent
}

// selects says whether the field selector demands field=value.
func selects(a authorizer.Attributes, field, value string) bool {
	reqs, _ := a.GetFieldSelector()
	for _, r := range reqs {
		if r.Field == field && r.Operator == selection.Equals && r.Value == value {
			return true
		}
	}
	return false
}

// RulesFor implements authorizer.RuleResolver: a node's permissions cannot be listed.
func (*Node) RulesFor(_ context.Context, u user.Info, _ string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	if _, isNode := NodeIdentity(u); isNode {
		return nil, nil, true, errors.New("node authorizer does not support user rule resolution")
	}
	return nil, nil, false, nil
}
