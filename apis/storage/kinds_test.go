package storage

import (
	"strings"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/ptr"

	"proa/apis/kind/kindtest"
)

func TestCSIDriver(t *testing.T)    { kindtest.Run(t, CSIDriver(), "testdata/csidriver") }
func TestCSINode(t *testing.T)      { kindtest.Run(t, CSINode(), "testdata/csinode") }
func TestStorageClass(t *testing.T) { kindtest.Run(t, StorageClass(), "testdata/storageclass") }
func TestVolumeAttachment(t *testing.T) {
	kindtest.Run(t, VolumeAttachment(), "testdata/volumeattachment")
}
func TestCSIStorageCapacity(t *testing.T) {
	kindtest.Run(t, CSIStorageCapacity(), "testdata/csistoragecapacity")
}
func TestVolumeAttributesClass(t *testing.T) {
	kindtest.Run(t, VolumeAttributesClass(), "testdata/volumeattributesclass")
}

func TestAttachmentStatus(t *testing.T) {
	a := &storagev1.VolumeAttachment{Spec: storagev1.VolumeAttachmentSpec{
		Attacher: "csi.example.com", NodeName: "n1", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: ptr.To("pv")}}}
	a.Status.Attached = true
	if errs := validateAttachment(a); len(errs) > 0 {
		t.Errorf("refused: %v", errs)
	}
	a.Status = storagev1.VolumeAttachmentStatus{
		AttachmentMetadata: map[string]string{"k": strings.Repeat("x", maxMetadataBytes)},
		AttachError:        &storagev1.VolumeError{Message: strings.Repeat("x", maxErrorBytes+1)},
		DetachError:        &storagev1.VolumeError{ErrorCode: ptr.To[int32](-1)},
	}
	var fields []string
	for _, e := range validateAttachment(a) {
		fields = append(fields, e.Field)
	}
	if got := strings.Join(fields, " "); got != "status.attachmentMetadata status.attachError.message status.detachError.errorCode" {
		t.Errorf("causes at %q", got)
	}
}
