package scheduling

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestPriorityClass(t *testing.T) { kindtest.Run(t, PriorityClass(), "testdata/priorityclass") }
