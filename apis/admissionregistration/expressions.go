package admissionregistration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"proa/apis/core"
)

// The roles of expressions in an object.
const (
	matchRole      = "match"
	validationRole = "validation"
	messageRole    = "message"
	auditRole      = "audit"
	applyRole      = "apply"
	jsonPatchRole  = "jsonPatch"
)

// stored is the expressions that the old object had: they may use what newer
// versions of the language no longer offer to new ones.
type stored map[[2]string]bool

func (s stored) add(role, expression string) { s[[2]string{role, expression}] = true }

func (s stored) addMatch(conditions []registrationv1.MatchCondition) {
	for _, c := range conditions {
		s.add(matchRole, c.Expression)
	}
}

// compilers make CEL compilers; making one takes milliseconds, so that happens
// at the first expression.
type compilers struct {
	// plain knows no variables of the policy's own.
	plain func() plugincel.Compiler
}

func newCompilers() compilers {
	return compilers{plain: sync.OnceValue(func() plugincel.Compiler {
		return plugincel.NewCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	})}
}

// composed is a compiler for one policy with variables of its own; it has state.
func (c compilers) composed() plugincel.Compiler {
	made, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return c.plain() // variables are then refused
	}
	return made
}

// expressions checks the expressions of one object.
type expressions struct {
	compile func() plugincel.Compiler
	stored  stored
	// params says whether expressions may use params.
	params bool
}

func (e expressions) environment(role, expression string) environment.Type {
	if e.stored[[2]string{role, expression}] {
		return environment.StoredExpressions
	}
	return environment.NewExpressions
}

// check compiles a; given is the expression as the object has it.
func (e expressions) check(c plugincel.Compiler, role, given string, a plugincel.ExpressionAccessor, o plugincel.OptionalVariableDeclarations, path *field.Path) field.ErrorList {
	o.HasParams = e.params
	if r := c.CompileCELExpression(a, o, e.environment(role, given)); r.Error != nil {
		return field.ErrorList{celError(path, a, r.Error)}
	}
	return nil
}

func celError(path *field.Path, a plugincel.ExpressionAccessor, err *cel.Error) *field.Error {
	switch err.Type {
	case cel.ErrorTypeRequired:
		return field.Required(path, err.Detail)
	case cel.ErrorTypeInvalid:
		return field.Invalid(path, a.GetExpression(), err.Detail)
	case cel.ErrorTypeInternal:
		return field.InternalError(path, err)
	}
	return field.InternalError(path, fmt.Errorf("unsupported error type: %w", err))
}

// maxMatchConditions of one webhook or policy.
const maxMatchConditions = 64

// validateMatchConditions compiles with the plain compiler always: they cannot
// use the policy's variables.
func (e expressions) validateMatchConditions(conditions []registrationv1.MatchCondition, path *field.Path) (errs field.ErrorList) {
	if n := len(conditions); n > maxMatchConditions {
		errs = append(errs, field.TooMany(path, n, maxMatchConditions))
	}
	names := map[string]bool{}
	for i, c := range conditions {
		at := path.Index(i)
		if expression := strings.TrimSpace(c.Expression); expression == "" {
			errs = append(errs, field.Required(at.Child("expression"), ""))
		} else {
			errs = append(errs, e.check(e.compile(), matchRole, expression, &matchconditions.MatchCondition{Expression: expression},
				plugincel.OptionalVariableDeclarations{HasAuthorizer: true}, at.Child("expression"))...)
		}
		if c.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
			continue
		}
		errs = append(errs, core.ValidateQualifiedName(c.Name, at.Child("name"))...)
		if names[c.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		names[c.Name] = true
	}
	return errs
}

// validateVariables stores each variable in the compiler for those after it.
func (e expressions) validateVariables(c plugincel.Compiler, variables []registrationv1.Variable, path *field.Path) (errs field.ErrorList) {
	for i, v := range variables {
		at := path.Index(i)
		if strings.TrimSpace(v.Name) == "" {
			errs = append(errs, field.Required(at.Child("name"), "name is not specified"))
		} else if !isIdentifier(v.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), v.Name, "must be a valid CEL identifier"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(at.Child("expression"), "expression is not specified"))
			continue
		}
		composed, ok := c.(*plugincel.CompositedCompiler)
		if !ok {
			errs = append(errs, field.InternalError(at, fmt.Errorf("variable composition is not allowed")))
			continue
		}
		variable := &validating.Variable{Name: v.Name, Expression: v.Expression}
		r := composed.CompileAndStoreVariable(variable, plugincel.OptionalVariableDeclarations{HasParams: e.params, HasAuthorizer: true},
			e.environment(validationRole, v.Expression))
		if r.Error != nil {
			errs = append(errs, celError(at.Child("expression"), variable, r.Error))
		}
	}
	return errs
}

// isIdentifier says whether a name can be a variable of the CEL grammar.
func isIdentifier(name string) bool {
	reserved := []string{"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
		"import", "let", "loop", "package", "namespace", "return", "var", "void", "while"}
	return identifier().MatchString(name) && !slices.Contains(reserved, name)
}

func identifier() *regexp.Regexp { return regexp.MustCompile("^[_a-zA-Z][_a-zA-Z0-9]*$") }
