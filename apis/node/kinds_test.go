package node

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestRuntimeClass(t *testing.T) { kindtest.Run(t, RuntimeClass(), "testdata/runtimeclass") }
