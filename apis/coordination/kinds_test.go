package coordination

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestLease(t *testing.T) { kindtest.Run(t, Lease(), "testdata/lease") }
