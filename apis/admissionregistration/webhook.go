package admissionregistration

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/utils/ptr"
)

// hook is a mutating webhook, or a validating one, which lacks the last field only.
type hook = registrationv1.MutatingWebhook

// asHooks lets one set of rules check both kinds.
func asHooks(webhooks []registrationv1.ValidatingWebhook) []hook {
	out := make([]hook, len(webhooks))
	for i, w := range webhooks {
		out[i] = hook{Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
			NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects,
			TimeoutSeconds: w.TimeoutSeconds, AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions}
	}
	return out
}

func defaultClient(c *registrationv1.WebhookClientConfig) {
	if c.Service != nil {
		setDefault(&c.Service.Port, int32(443))
	}
}

func noSideEffects() []registrationv1.SideEffectClass {
	return []registrationv1.SideEffectClass{registrationv1.SideEffectClassNone, registrationv1.SideEffectClassNoneOnDryRun}
}

// reviewVersions are the AdmissionReview versions that the API server speaks.
func reviewVersions() []string { return []string{"v1", "v1beta1"} }

// leniency is what an update may keep because the old object already had it.
type leniency struct {
	sideEffects, unknownReviews, sameNames, badLabels, conditions bool
	stored                                                        stored
}

func leniencyFor(hooks, old []hook) leniency {
	l := leniency{stored: stored{}, conditions: len(hooks) == len(old)}
	names := map[string]bool{}
	for i, h := range old {
		if h.SideEffects == nil || !slices.Contains(noSideEffects(), *h.SideEffects) {
			l.sideEffects = true
		}
		if len(h.AdmissionReviewVersions) > 0 && !speaks(h.AdmissionReviewVersions) {
			l.unknownReviews = true
		}
		l.sameNames = l.sameNames || names[h.Name]
		names[h.Name] = true
		for _, s := range []*metav1.LabelSelector{h.NamespaceSelector, h.ObjectSelector} {
			if s != nil && len(metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, nil)) > 0 {
				l.badLabels = true
			}
		}
		if l.conditions && !reflect.DeepEqual(hooks[i].MatchConditions, h.MatchConditions) {
			l.conditions = false
		}
		for _, c := range h.MatchConditions {
			l.stored.add(matchRole, c.Expression)
		}
	}
	return l
}

func speaks(versions []string) bool {
	return slices.ContainsFunc(versions, func(v string) bool { return slices.Contains(reviewVersions(), v) })
}

func validateHooks(hooks []hook, l leniency, compilers compilers) (errs field.ErrorList) {
	names := map[string]bool{}
	for i := range hooks {
		h, path := &hooks[i], field.NewPath("webhooks").Index(i)
		errs = append(errs, validateHook(h, l, compilers, path)...)
		errs = append(errs, validateReviewVersions(h.AdmissionReviewVersions, l, path.Child("admissionReviewVersions"))...)
		if !l.sameNames && h.Name != "" {
			if names[h.Name] {
				errs = append(errs, field.Duplicate(path.Child("name"), h.Name))
			}
			names[h.Name] = true
		}
	}
	return errs
}

func validateHook(h *hook, l leniency, compilers compilers, path *field.Path) (errs field.ErrorList) {
	errs = append(errs, validation.IsFullyQualifiedName(path.Child("name"), h.Name)...)
	for i := range h.Rules {
		errs = append(errs, validateRule(&h.Rules[i], path.Child("rules").Index(i))...)
	}
	if p := h.FailurePolicy; p != nil && !slices.Contains(failurePolicies(), *p) {
		errs = append(errs, field.NotSupported(path.Child("failurePolicy"), *p, failurePolicies()))
	}
	if p := h.MatchPolicy; p != nil && !slices.Contains(matchPolicies(), *p) {
		errs = append(errs, field.NotSupported(path.Child("matchPolicy"), *p, matchPolicies()))
	}
	allowed := noSideEffects()
	if l.sideEffects {
		allowed = append(allowed, registrationv1.SideEffectClassSome, registrationv1.SideEffectClassUnknown)
	}
	if h.SideEffects == nil {
		text := make([]string, len(allowed))
		for i, a := range allowed {
			text[i] = string(a)
		}
		errs = append(errs, field.Required(path.Child("sideEffects"), fmt.Sprintf("must specify one of %v", strings.Join(text, ", "))))
	} else if !slices.Contains(allowed, *h.SideEffects) {
		errs = append(errs, field.NotSupported(path.Child("sideEffects"), *h.SideEffects, allowed))
	}
	if t := ptr.Deref(h.TimeoutSeconds, 1); t > 30 || t < 1 {
		errs = append(errs, field.Invalid(path.Child("timeoutSeconds"), t, "the timeout value must be between 1 and 30 seconds"))
	}
	o := metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: l.badLabels}
	errs = append(errs, metav1validation.ValidateLabelSelector(h.NamespaceSelector, o, path.Child("namespaceSelector"))...)
	errs = append(errs, metav1validation.ValidateLabelSelector(h.ObjectSelector, o, path.Child("objectSelector"))...)
	if p := h.ReinvocationPolicy; p != nil && !slices.Contains(reinvocationPolicies(), *p) {
		errs = append(errs, field.NotSupported(path.Child("reinvocationPolicy"), *p, reinvocationPolicies()))
	}
	at := path.Child("clientConfig")
	switch c := h.ClientConfig; {
	case (c.URL == nil) == (c.Service == nil):
		errs = append(errs, field.Required(at, "exactly one of url or service is required"))
	case c.URL != nil:
		errs = append(errs, webhookutil.ValidateWebhookURL(at.Child("url"), *c.URL, true)...)
	default: // namespace and name change places as upstream's do: clients know the causes so
		errs = append(errs, webhookutil.ValidateWebhookService(at.Child("service"), c.Service.Name, c.Service.Namespace, c.Service.Path, ptr.Deref(c.Service.Port, 443))...)
	}
	if !l.conditions {
		e := expressions{compile: compilers.plain, stored: l.stored}
		errs = append(errs, e.validateMatchConditions(h.MatchConditions, path.Child("matchConditions"))...)
	}
	return errs
}

func validateReviewVersions(versions []string, l leniency, path *field.Path) (errs field.ErrorList) {
	known := strings.Join(reviewVersions(), ", ")
	if len(versions) == 0 {
		return field.ErrorList{field.Required(path, fmt.Sprintf("must specify one of %v", known))}
	}
	seen := map[string]bool{}
	for i, v := range versions {
		if seen[v] {
			errs = append(errs, field.Invalid(path.Index(i), v, "duplicate version"))
			continue
		}
		seen[v] = true
		for _, msg := range validation.IsDNS1035Label(v) {
			errs = append(errs, field.Invalid(path.Index(i), v, msg))
		}
	}
	if !l.unknownReviews && !speaks(versions) {
		errs = append(errs, field.Invalid(path, versions, fmt.Sprintf("must include at least one of %v", known)))
	}
	return errs
}
