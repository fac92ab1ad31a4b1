package certificates

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

const (
	// signedLifetime is the longest life of a signed certificate, --cluster-signing-duration's default.
	signedLifetime = 365 * 24 * time.Hour
	minLifetime    = 10 * time.Minute
	// backdate allows for clocks that differ; certificates shorter than shortLife
	// do not pay for it with their end.
	backdate  = 5 * time.Minute
	shortLife = 8 * time.Hour
)

// Signer signs approved requests for the signers kubernetes.io/kubelet-serving,
// kubernetes.io/kube-apiserver-client-kubelet, kubernetes.io/kube-apiserver-client
// and kubernetes.io/legacy-unknown, each with its CA, which it reads anew each time.
type Signer struct {
	Client client.Client
	Kube   kubernetes.Interface
	// CAs by signer name; requests for others wait for somebody else.
	CAs map[string]control.CA
	// MaxLife is the longest life of a certificate; 0 means signedLifetime.
	MaxLife time.Duration
	Now     func() time.Time
}

// SetupSigner registers the controller; without a CA there is nothing to sign with.
func SetupSigner(env *control.Env) error {
	if len(env.Signers) == 0 {
		return nil
	}
	return (&Signer{Client: env.Client(), Kube: env.Kube, CAs: env.Signers, MaxLife: env.SigningDuration, Now: env.Clock.Now}).SetupWithManager(env.Manager)
}

// SetupWithManager registers the controller with a manager.
func (s *Signer) SetupWithManager(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).Named("csrsigning").For(&certificatesv1.CertificateSigningRequest{}).Complete(s)
}

// Reconcile signs one request, or marks it Failed, or leaves it.
func (s *Signer) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var csr certificatesv1.CertificateSigningRequest
	if err := s.Client.Get(ctx, req.NamespacedName, &csr); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if len(csr.Status.Certificate) > 0 || !has(&csr, certificatesv1.CertificateApproved) || has(&csr, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed) {
		return reconcile.Result{}, nil
	}
	check, known := checks()[csr.Spec.SignerName]
	files, ours := s.CAs[csr.Spec.SignerName]
	if !known || !ours {
		return reconcile.Result{}, nil
	}
	x509cr, err := parse(csr.Spec.Request)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("unable to parse csr %q: %w", csr.Name, err))
	}
	out := csr.DeepCopy()
	if err := check(x509cr, csr.Spec.Usages); err != nil {
		out.Status.Conditions = append(out.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue, Reason: "SignerValidationFailure",
			Message: err.Error(), LastUpdateTime: metav1.NewTime(s.Now()),
		})
	} else {
		ca, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			return reconcile.Result{}, fmt.Errorf("cluster CA: %w", err)
		}
		if out.Status.Certificate, err = sign(ca, x509cr, csr.Spec.Usages, lifetime(csr.Spec.ExpirationSeconds, s.MaxLife), s.Now()); err != nil {
			return reconcile.Result{}, fmt.Errorf("error auto signing csr: %w", err)
		}
	}
	_, err = s.Kube.CertificatesV1().CertificateSigningRequests().UpdateStatus(ctx, out, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil // the change that was faster comes as an event
	}
	return reconcile.Result{}, err
}

// checks are the signers and what each demands of a request.
func checks() map[string]func(*x509.CertificateRequest, []certificatesv1.KeyUsage) error {
	return map[string]func(*x509.CertificateRequest, []certificatesv1.KeyUsage) error{
		certificatesv1.KubeletServingSignerName:             checkKubeletServing,
		certificatesv1.KubeAPIServerClientKubeletSignerName: checkKubeletClient,
		certificatesv1.KubeAPIServerClientSignerName:        checkAPIServerClient,
		// Whoever approved such a request knew what they did.
		certificatesv1beta1.LegacyUnknownSignerName: func(*x509.CertificateRequest, []certificatesv1.KeyUsage) error { return nil },
	}
}

func checkAPIServerClient(_ *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	client := false
	for _, u := range usages {
		switch u {
		case certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment:
		case certificatesv1.UsageClientAuth:
			client = true
		default:
			return fmt.Errorf("invalid usage for client certificate: %s", u)
		}
	}
	if !client {
		return fmt.Errorf("missing required usage for client certificate: %s", certificatesv1.UsageClientAuth)
	}
	return nil
}

func lifetime(seconds *int32, longest time.Duration) time.Duration {
	if longest == 0 {
		longest = signedLifetime
	}
	if seconds == nil {
		return longest
	}
	return min(max(time.Duration(*seconds)*time.Second, minLifetime), longest)
}

// sign issues the certificate that the request asks for, with its subject and names.
func sign(ca tls.Certificate, r *x509.CertificateRequest, usages []certificatesv1.KeyUsage, life time.Duration, now time.Time) ([]byte, error) {
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("unable to verify certificate request signature: %w", err)
	}
	key, ok := ca.PrivateKey.(crypto.Signer)
	if !ok || ca.Leaf == nil {
		return nil, errors.New("the CA's key cannot sign")
	}
	keyUsage, extUsages, err := keyUsages(usages)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	end := now.Add(life)
	if life >= shortLife {
		end = end.Add(-backdate)
	}
	if end.After(ca.Leaf.NotAfter) {
		end = ca.Leaf.NotAfter
	}
	if !now.Before(ca.Leaf.NotAfter) {
		return nil, fmt.Errorf("refusing to sign a certificate that expired in the past: the CA ended at %s", ca.Leaf.NotAfter)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: r.Subject,
		DNSNames: r.DNSNames, IPAddresses: r.IPAddresses, EmailAddresses: r.EmailAddresses, URIs: r.URIs,
		NotBefore: now.Add(-backdate), NotAfter: end,
		KeyUsage: keyUsage, ExtKeyUsage: extUsages, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.Leaf, r.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func keyUsages(in []certificatesv1.KeyUsage) (x509.KeyUsage, []x509.ExtKeyUsage, error) {
	plain := map[certificatesv1.KeyUsage]x509.KeyUsage{
		certificatesv1.UsageSigning:           x509.KeyUsageDigitalSignature,
		certificatesv1.UsageDigitalSignature:  x509.KeyUsageDigitalSignature,
		certificatesv1.UsageContentCommitment: x509.KeyUsageContentCommitment,
		certificatesv1.UsageKeyEncipherment:   x509.KeyUsageKeyEncipherment,
		certificatesv1.UsageKeyAgreement:      x509.KeyUsageKeyAgreement,
		certificatesv1.UsageDataEncipherment:  x509.KeyUsageDataEncipherment,
		certificatesv1.UsageCertSign:          x509.KeyUsageCertSign,
		certificatesv1.UsageCRLSign:           x509.KeyUsageCRLSign,
		certificatesv1.UsageEncipherOnly:      x509.KeyUsageEncipherOnly,
		certificatesv1.UsageDecipherOnly:      x509.KeyUsageDecipherOnly,
	}
	extended := map[certificatesv1.KeyUsage]x509.ExtKeyUsage{
		certificatesv1.UsageAny:             x509.ExtKeyUsageAny,
		certificatesv1.UsageServerAuth:      x509.ExtKeyUsageServerAuth,
		certificatesv1.UsageClientAuth:      x509.ExtKeyUsageClientAuth,
		certificatesv1.UsageCodeSigning:     x509.ExtKeyUsageCodeSigning,
		certificatesv1.UsageEmailProtection: x509.ExtKeyUsageEmailProtection,
		certificatesv1.UsageSMIME:           x509.ExtKeyUsageEmailProtection,
		certificatesv1.UsageIPsecEndSystem:  x509.ExtKeyUsageIPSECEndSystem,
		certificatesv1.UsageIPsecTunnel:     x509.ExtKeyUsageIPSECTunnel,
		certificatesv1.UsageIPsecUser:       x509.ExtKeyUsageIPSECUser,
		certificatesv1.UsageTimestamping:    x509.ExtKeyUsageTimeStamping,
		certificatesv1.UsageOCSPSigning:     x509.ExtKeyUsageOCSPSigning,
		certificatesv1.UsageMicrosoftSGC:    x509.ExtKeyUsageMicrosoftServerGatedCrypto,
		certificatesv1.UsageNetscapeSGC:     x509.ExtKeyUsageNetscapeServerGatedCrypto,
	}
	var usage x509.KeyUsage
	var ext []x509.ExtKeyUsage
	var unknown []certificatesv1.KeyUsage
	for _, u := range in {
		if p, ok := plain[u]; ok {
			usage |= p
		} else if e, ok := extended[u]; ok {
			ext = append(ext, e)
		} else {
			unknown = append(unknown, u)
		}
	}
	if len(unknown) > 0 {
		return 0, nil, fmt.Errorf("unrecognized usage values: %q", unknown)
	}
	slices.Sort(ext)
	return usage, slices.Compact(ext), nil
}
