package admission

import (
	"context"
	"errors"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	componentmetrics "k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	psa "k8s.io/pod-security-admission/admission"
	"k8s.io/pod-security-admission/admission/api/load"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"
)

// podSecurity holds pods to the Pod Security Standard that their namespace's
// labels name; the default is privileged. The library decides.
type podSecurity struct {
	*admission.Handler
	delegate *psa.Admission
}

func newPodSecurity(f informers.SharedInformerFactory, client kubernetes.Interface) (*podSecurity, error) {
	config, err := load.LoadFromData(nil)
	if err != nil {
		return nil, err
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, err
	}
	recorder := metrics.NewPrometheusRecorder(psaapi.GetAPIVersion())
	recorder.MustRegister(func(counters ...componentmetrics.Registerable) {
		for _, c := range counters {
			// Where several servers are made in one process, the first one's count.
			_ = legacyregistry.Register(c)
		}
	})
	namespaces := f.Core().V1().Namespaces()
	p := &podSecurity{
		Handler: admission.NewHandler(admission.Create, admission.Update),
		delegate: &psa.Admission{
			Configuration:    config,
			Evaluator:        evaluator,
			Metrics:          recorder,
			PodSpecExtractor: psa.DefaultPodSpecExtractor{},
			NamespaceGetter:  psa.NamespaceGetterFromListerAndClient(namespaces.Lister(), client),
			PodLister:        psa.PodListerFromInformer(f.Core().V1().Pods().Lister()),
		},
	}
	p.SetReadyFunc(namespaces.Informer().HasSynced)
	if err := p.delegate.CompleteConfiguration(); err != nil {
		return nil, err
	}
	return p, p.delegate.ValidateConfiguration()
}

// Validate implements admission.ValidationInterface.
func (p *podSecurity) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	gr := a.GetResource().GroupResource()
	if gr != corev1.Resource("pods") && gr != corev1.Resource("namespaces") && !p.delegate.PodSpecExtractor.HasPodSpec(gr) {
		return nil
	}
	if !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	result := p.delegate.Validate(ctx, psaAttributes{a})
	for _, w := range result.Warnings {
		warning.AddWarning(ctx, "", w)
	}
	for k, v := range result.AuditAnnotations {
		audit.AddAuditAnnotation(ctx, psaapi.AuditAnnotationPrefix+k, v)
	}
	if result.Allowed {
		return nil
	}
	err := admission.NewForbidden(a, errors.New("Not allowed by PodSecurity")) //nolint:staticcheck // upstream's words
	status := &apierrors.StatusError{}
	if result.Result == nil || !errors.As(err, &status) {
		return err
	}
	if r := result.Result; r != nil {
		if r.Message != "" {
			status.ErrStatus.Message = r.Message
		}
		if r.Reason != "" {
			status.ErrStatus.Reason = r.Reason
		}
		if r.Details != nil {
			status.ErrStatus.Details = r.Details
		}
		if r.Code != 0 {
			status.ErrStatus.Code = r.Code
		}
	}
	return status
}

// psaAttributes are the library's attributes; objects are of the served types already.
type psaAttributes struct{ admission.Attributes }

func (p psaAttributes) GetObject() (runtime.Object, error) { return p.Attributes.GetObject(), nil }
func (p psaAttributes) GetOldObject() (runtime.Object, error) {
	return p.Attributes.GetOldObject(), nil
}
func (p psaAttributes) GetOperation() admissionv1.Operation {
	return admissionv1.Operation(p.Attributes.GetOperation())
}
func (p psaAttributes) GetUserName() string { return p.GetUserInfo().GetName() }
