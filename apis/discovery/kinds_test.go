package discovery

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestEndpointSlice(t *testing.T) { kindtest.Run(t, EndpointSlice(), "testdata/endpointslice") }
