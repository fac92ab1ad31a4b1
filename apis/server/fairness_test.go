package server

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func flowSchema(name, annotation string, generation int64, precedence int32) *flowcontrolv1.FlowSchema {
	s := &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: generation}}
	s.Spec.MatchingPrecedence = precedence
	if annotation != "" {
		s.Annotations = map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: annotation}
	}
	return s
}

// TestPlanFairness tells what becomes of one object besides those that are built in:
// suggested "s" and mandatory "m", of precedence 7.
func TestPlanFairness(t *testing.T) {
	for _, c := range []struct {
		what string
		have *flowcontrolv1.FlowSchema
		want []string
	}{
		{"none there", nil, []string{"create s", "create m"}},
		{"as it was made", flowSchema("s", "true", 1, 7), []string{"create m"}},
		{"older version's, followed", flowSchema("s", "true", 3, 5), []string{"create m", "update s 7 true"}},
		{"taken over", flowSchema("s", "false", 3, 5), []string{"create m"}},
		{"unmarked and untouched", flowSchema("s", "", 1, 5), []string{"create m", "update s 7 true"}},
		{"unmarked and changed", flowSchema("s", "", 2, 5), []string{"create m", "update s 5 false"}},
		{"mark that is none", flowSchema("s", "maybe", 2, 5), []string{"create m", "update s 5 false"}},
		{"mandatory cannot be taken over", flowSchema("m", "false", 3, 5), []string{"create s", "update m 7 true"}},
		{"not built in any more", flowSchema("old", "true", 1, 5), []string{"create s", "create m", "remove old"}},
		{"a user's own", flowSchema("own", "", 1, 5), []string{"create s", "create m"}},
		{"a user's, from a built-in one", flowSchema("own", "false", 1, 5), []string{"create s", "create m"}},
	} {
		var have []*flowcontrolv1.FlowSchema
		if c.have != nil {
			have = append(have, c.have)
		}
		plan := planFairness(have, []*flowcontrolv1.FlowSchema{flowSchema("s", "true", 0, 7)}, []*flowcontrolv1.FlowSchema{flowSchema("m", "true", 0, 7)}, reviseSchema)
		var got []string
		for _, o := range plan.create {
			got = append(got, "create "+o.Name)
		}
		for _, o := range plan.update {
			got = append(got, fmt.Sprintf("update %s %d %s", o.Name, o.Spec.MatchingPrecedence, o.Annotations[flowcontrolv1.AutoUpdateAnnotationKey]))
		}
		for _, n := range plan.remove {
			got = append(got, "remove "+n)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.what, d)
		}
	}
}

// TestExemptLevelIsTheAdministrators keeps what may be chosen of the exempt level.
func TestExemptLevelIsTheAdministrators(t *testing.T) {
	shares := int32(9)
	level := func(e *flowcontrolv1.ExemptPriorityLevelConfiguration) *flowcontrolv1.PriorityLevelConfiguration {
		l := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: flowcontrolv1.PriorityLevelConfigurationNameExempt}}
		l.Spec.Type, l.Spec.Exempt = flowcontrolv1.PriorityLevelEnablementExempt, e
		return l
	}
	want := level(&flowcontrolv1.ExemptPriorityLevelConfiguration{})
	if reviseLevel(level(&flowcontrolv1.ExemptPriorityLevelConfiguration{NominalConcurrencyShares: &shares}), want) {
		t.Error("own shares were taken back")
	}
	broken := level(nil)
	if !reviseLevel(broken, want) || broken.Spec.Exempt == nil {
		t.Error("lost spec.exempt was not given back")
	}
	if reviseLevel(level(want.Spec.Exempt), want) {
		t.Error("changed what was right")
	}
}
