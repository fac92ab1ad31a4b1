package certificates

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// How long requests are kept, as upstream.
const (
	keepIssued  = time.Hour
	keepRefused = time.Hour
	keepPending = 24 * time.Hour
)

// Cleaner deletes requests that were issued, refused or left pending long ago.
type Cleaner struct {
	Client client.Client
	Now    func() time.Time
}

// SetupCleaner registers the controller.
func SetupCleaner(env *control.Env) error {
	return (&Cleaner{Client: env.Client(), Now: env.Clock.Now}).SetupWithManager(env.Manager)
}

// SetupWithManager registers the controller with a manager.
func (c *Cleaner) SetupWithManager(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).Named("csrcleaner").For(&certificatesv1.CertificateSigningRequest{}).Complete(c)
}

// Reconcile deletes one request or comes back when it is due.
func (c *Cleaner) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var csr certificatesv1.CertificateSigningRequest
	if err := c.Client.Get(ctx, req.NamespacedName, &csr); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	at, why := due(&csr)
	if at.IsZero() {
		return reconcile.Result{}, nil
	}
	if wait := at.Sub(c.Now()); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	klog.FromContext(ctx).Info("Cleaning CSR", "csr", csr.Name, "reason", why)
	return reconcile.Result{}, client.IgnoreNotFound(c.Client.Delete(ctx, &csr))
}

// due is when a request is to be deleted, and why; the earliest of all causes.
func due(csr *certificatesv1.CertificateSigningRequest) (time.Time, string) {
	var at time.Time
	var why string
	cause := func(from time.Time, keep time.Duration, w string) {
		if t := from.Add(keep); !from.IsZero() && (at.IsZero() || t.Before(at)) {
			at, why = t, w
		}
	}
	issued := len(csr.Status.Certificate) > 0
	if len(csr.Status.Conditions) == 0 {
		cause(csr.CreationTimestamp.Time, keepPending, "pending and unhandled")
	}
	for _, c := range csr.Status.Conditions {
		switch {
		case c.Type == certificatesv1.CertificateDenied:
			cause(c.LastUpdateTime.Time, keepRefused, "denied")
		case c.Type == certificatesv1.CertificateFailed:
			cause(c.LastUpdateTime.Time, keepRefused, "failed")
		case c.Type == certificatesv1.CertificateApproved && issued:
			cause(c.LastUpdateTime.Time, keepIssued, "issued")
			if block, _ := pem.Decode(csr.Status.Certificate); block != nil {
				if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
					cause(cert.NotAfter, 0, "certificate expired")
				}
			}
		case c.Type == certificatesv1.CertificateApproved:
			cause(c.LastUpdateTime.Time, keepPending, "approved but not issued")
		}
	}
	return at, why
}
