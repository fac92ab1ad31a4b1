package certificates

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// nodeWait is how soon a serving request is looked at again whose node does not
// report the requested addresses yet.
const nodeWait = 2 * time.Second

// nodeWaitEnd is how old a request may be to be looked at again.
const nodeWaitEnd = 5 * time.Minute

// Approver approves certificate requests of nodes, if the requester is allowed
// to have them approved (a SubjectAccessReview of the virtual subresources
// selfnodeclient, nodeclient, selfnodeserver). Everything else waits for people.
type Approver struct {
	Client client.Client
	Kube   kubernetes.Interface
	// Nodes reads nodes past any cache, as the address may just have been reported.
	Nodes client.Reader
	Now   func() time.Time
}

// SetupApprover registers the controller.
func SetupApprover(env *control.Env) error {
	return (&Approver{Client: env.Client(), Kube: env.Kube, Nodes: env.Live(), Now: env.Clock.Now}).SetupWithManager(env.Manager)
}

// SetupWithManager registers the controller with a manager.
func (a *Approver) SetupWithManager(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).Named("csrapproving").For(&certificatesv1.CertificateSigningRequest{}).Complete(a)
}

// Reconcile approves one request, or leaves it.
func (a *Approver) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var csr certificatesv1.CertificateSigningRequest
	if err := a.Client.Get(ctx, req.NamespacedName, &csr); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if len(csr.Status.Certificate) > 0 || has(&csr, certificatesv1.CertificateApproved, certificatesv1.CertificateDenied) {
		return reconcile.Result{}, nil
	}
	x509cr, err := parse(csr.Spec.Request)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("unable to parse csr %q: %w", csr.Name, err))
	}
	kinds := recognize(&csr, x509cr)
	for _, k := range kinds {
		if k.subresource == "selfnodeserver" {
			ok, err := a.nodeHas(ctx, x509cr)
			if err != nil {
				return reconcile.Result{}, err
			}
			if !ok {
				klog.FromContext(ctx).Info("Serving certificate request waits for its node to report the requested addresses", "csr", csr.Name, "addresses", x509cr.IPAddresses, "names", x509cr.DNSNames)
				if a.Now().Sub(csr.CreationTimestamp.Time) > nodeWaitEnd {
					return reconcile.Result{}, nil
				}
				return reconcile.Result{RequeueAfter: nodeWait}, nil
			}
		}
		allowed, err := a.allowed(ctx, &csr, k.subresource)
		if err != nil {
			return reconcile.Result{}, err
		}
		if !allowed {
			continue
		}
		out := csr.DeepCopy()
		out.Status.Conditions = append(out.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "AutoApproved", Message: k.message,
		})
		_, err = a.Kube.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, csr.Name, out, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return reconcile.Result{}, nil // the change that was faster comes as an event
		}
		if err != nil {
			return reconcile.Result{}, fmt.Errorf("error updating approval for csr: %w", err)
		}
		return reconcile.Result{}, nil
	}
	if len(kinds) > 0 {
		klog.FromContext(ctx).Info("Recognized certificate request but subject access review was not approved", "csr", csr.Name, "user", csr.Spec.Username)
	}
	return reconcile.Result{}, nil
}

// recognized is one kind of request that may be approved without people.
type recognized struct{ subresource, message string }

// recognize returns what a request may be approved as, the narrowest first.
func recognize(csr *certificatesv1.CertificateSigningRequest, r *x509.CertificateRequest) []recognized {
	self := csr.Spec.Username == r.Subject.CommonName
	var out []recognized
	switch csr.Spec.SignerName {
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		if checkKubeletClient(r, csr.Spec.Usages) != nil {
			return nil
		}
		if self {
			out = append(out, recognized{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."})
		}
		out = append(out, recognized{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."})
	case certificatesv1.KubeletServingSignerName:
		if self && checkKubeletServing(r, csr.Spec.Usages) == nil {
			out = append(out, recognized{"selfnodeserver", "Auto approving self kubelet serving certificate after comparison with the node's addresses and SubjectAccessReview."})
		}
	}
	return out
}

// nodeHas says whether every name and address of a serving request is the node's own.
func (a *Approver) nodeHas(ctx context.Context, r *x509.CertificateRequest) (bool, error) {
	var node corev1.Node
	name := strings.TrimPrefix(r.Subject.CommonName, nodePrefix)
	if err := a.Nodes.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return covers(&node, r), nil
}

// covers compares a request with a node's name and reported addresses. Loopback
// is every node's own.
func covers(node *corev1.Node, r *x509.CertificateRequest) bool {
	names := []string{node.Name, "localhost"}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, a := range node.Status.Addresses {
		switch a.Type {
		case corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeExternalDNS:
			names = append(names, a.Address)
		case corev1.NodeInternalIP, corev1.NodeExternalIP:
			if ip := net.ParseIP(a.Address); ip != nil {
				addresses = append(addresses, ip)
			}
		}
	}
	for _, n := range r.DNSNames {
		if !slices.Contains(names, n) {
			return false
		}
	}
	for _, ip := range r.IPAddresses {
		if !slices.ContainsFunc(addresses, ip.Equal) {
			return false
		}
	}
	return true
}

func (a *Approver) allowed(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, subresource string) (bool, error) {
	spec := authorizationv1.SubjectAccessReviewSpec{
		User: csr.Spec.Username, UID: csr.Spec.UID, Groups: csr.Spec.Groups,
		Extra: map[string]authorizationv1.ExtraValue{},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: certificatesv1.GroupName, Resource: "certificatesigningrequests", Subresource: subresource, Verb: "create", Version: "*",
		},
	}
	for k, v := range csr.Spec.Extra {
		spec.Extra[k] = authorizationv1.ExtraValue(v)
	}
	sar, err := a.Kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return sar.Status.Allowed, nil
}
