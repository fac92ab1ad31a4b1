package flowcontrol

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestFlowSchema(t *testing.T) { kindtest.Run(t, FlowSchema(), "testdata/flowschema") }

func TestPriorityLevelConfiguration(t *testing.T) {
	kindtest.Run(t, PriorityLevelConfiguration(), "testdata/prioritylevelconfiguration")
}
