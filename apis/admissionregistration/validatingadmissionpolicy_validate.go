package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/client-go/util/jsonpath"

	"proa/apis/core"
)

const (
	maxAuditAnnotations = 20
	// maxAuditExpression is less than an annotation may hold, since an expression
	// that joins strings makes more than its own length.
	maxAuditExpression = 5 * 1024
)

func validateValidatingPolicy(p, old validatingPolicy, compilers compilers) (errs field.ErrorList) {
	s, path := &p.Spec, field.NewPath("spec")
	e := expressions{compile: compilers.plain, stored: stored{}, params: s.ParamKind != nil}
	if old != nil {
		e.stored.addMatch(old.Spec.MatchConditions)
		for _, v := range old.Spec.Validations {
			e.stored.add(validationRole, v.Expression)
			e.stored.add(messageRole, v.MessageExpression)
		}
		for _, a := range old.Spec.AuditAnnotations {
			e.stored.add(auditRole, a.ValueExpression)
		}
	}
	errs = append(errs, validateFailurePolicy(s.FailurePolicy, path.Child("failurePolicy"))...)
	errs = append(errs, validateParamKind(s.ParamKind, path.Child("paramKind"))...)
	errs = append(errs, validateConstraints(s.MatchConstraints, path.Child("matchConstraints"))...)
	if old == nil || !sameConditions(s.MatchConditions, old.Spec.MatchConditions, s.ParamKind, old.Spec.ParamKind) {
		errs = append(errs, e.validateMatchConditions(s.MatchConditions, path.Child("matchConditions"))...)
	}
	if len(s.Variables) > 0 {
		composed := compilers.composed()
		e.compile = func() plugincel.Compiler { return composed }
		errs = append(errs, e.validateVariables(composed, s.Variables, path.Child("variables"))...)
	}
	if len(s.Validations) == 0 && len(s.AuditAnnotations) == 0 {
		const none = "validations or auditAnnotations must contain at least one item"
		return append(errs, field.Required(path.Child("validations"), none), field.Required(path.Child("auditAnnotations"), none))
	}
	for i := range s.Validations {
		errs = append(errs, e.validateValidation(&s.Validations[i], path.Child("validations").Index(i))...)
	}
	at := path.Child("auditAnnotations")
	if len(s.AuditAnnotations) > maxAuditAnnotations {
		errs = append(errs, field.Invalid(at, s.AuditAnnotations, fmt.Sprintf("must not have more than %d auditAnnotations", maxAuditAnnotations)))
	}
	keys := map[string]bool{}
	for i, a := range s.AuditAnnotations {
		errs = append(errs, e.validateAudit(p.Name, a, at.Index(i))...)
		if keys[a.Key] {
			errs = append(errs, field.Duplicate(at.Index(i).Child("key"), a.Key))
		}
		keys[a.Key] = true
	}
	return errs
}

func (e expressions) validateValidation(v *registrationv1.Validation, path *field.Path) (errs field.ErrorList) {
	at := path.Child("expression")
	if strings.TrimSpace(v.Expression) == "" {
		errs = append(errs, field.Required(at, "expression is not specified"))
	} else {
		errs = append(errs, e.check(e.compile(), validationRole, v.Expression, &validating.ValidationCondition{Expression: v.Expression},
			plugincel.OptionalVariableDeclarations{HasAuthorizer: true}, at)...)
	}
	const blank = "must be non-empty if specified"
	at = path.Child("messageExpression")
	if text := strings.TrimSpace(v.MessageExpression); v.MessageExpression != "" && text == "" {
		errs = append(errs, field.Invalid(at, v.MessageExpression, blank))
	} else if text != "" {
		errs = append(errs, e.check(e.compile(), messageRole, v.MessageExpression, &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression},
			plugincel.OptionalVariableDeclarations{}, at)...)
	}
	at = path.Child("message")
	if text := strings.TrimSpace(v.Message); v.Message != "" && text == "" {
		errs = append(errs, field.Invalid(at, v.Message, blank))
	} else if strings.ContainsAny(text, "\n\r") {
		errs = append(errs, field.Invalid(at, v.Message, "must not contain line breaks"))
	}
	reasons := []metav1.StatusReason{metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge}
	if v.Reason != nil && !slices.Contains(reasons, *v.Reason) {
		errs = append(errs, field.NotSupported(path.Child("reason"), *v.Reason, reasons))
	}
	return errs
}

func (e expressions) validateAudit(policy string, a registrationv1.AuditAnnotation, path *field.Path) (errs field.ErrorList) {
	if policy == "" {
		errs = append(errs, field.Invalid(path.Child("key"), a.Key, "requires metadata.name be non-empty"))
	} else {
		errs = append(errs, core.ValidateQualifiedName(policy+"/"+a.Key, path.Child("key"))...)
	}
	at, text := path.Child("valueExpression"), strings.TrimSpace(a.ValueExpression)
	switch {
	case text == "":
		return append(errs, field.Required(at, "valueExpression is not specified"))
	case len(text) > maxAuditExpression:
		return append(errs, field.Required(at, fmt.Sprintf("must not exceed %d bytes in length", maxAuditExpression)))
	}
	bad := e.check(e.compile(), auditRole, a.ValueExpression, &validating.AuditAnnotationCondition{ValueExpression: text},
		plugincel.OptionalVariableDeclarations{HasAuthorizer: true}, at)
	for _, b := range bad {
		if b.Type == field.ErrorTypeInvalid {
			b.BadValue = a.ValueExpression
		}
	}
	return append(errs, bad...)
}

func validateTypeChecking(t *registrationv1.TypeChecking, path *field.Path) (errs field.ErrorList) {
	if t == nil {
		return nil
	}
	for i, w := range t.ExpressionWarnings {
		at := path.Child("expressionWarnings").Index(i)
		if w.Warning == "" {
			errs = append(errs, field.Required(at.Child("warning"), ""))
		}
		if ref := strings.TrimSpace(w.FieldRef); ref == "" {
			errs = append(errs, field.Required(at.Child("fieldRef"), ""))
		} else if err := jsonpath.New("spec").Parse(fmt.Sprintf("{%s}", ref)); err != nil {
			errs = append(errs, field.Invalid(at.Child("fieldRef"), ref, fmt.Sprintf("invalid JSONPath: %v", err)))
		}
	}
	return errs
}
