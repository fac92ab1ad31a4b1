package resource

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestDeviceClass(t *testing.T)   { kindtest.Run(t, DeviceClass(), "testdata/deviceclass") }
func TestResourceClaim(t *testing.T) { kindtest.Run(t, ResourceClaim(), "testdata/resourceclaim") }
func TestResourceSlice(t *testing.T) { kindtest.Run(t, ResourceSlice(), "testdata/resourceslice") }
func TestResourceClaimTemplate(t *testing.T) {
	kindtest.Run(t, ResourceClaimTemplate(), "testdata/resourceclaimtemplate")
}
