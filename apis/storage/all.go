// Package storage holds the kinds of group storage.k8s.io.
package storage

import "proa/apis/kind"

// Kinds lists the kinds of the group; those of beta versions are off by default.
func Kinds() []kind.Any {
	attributes := VolumeAttributesClass()
	return []kind.Any{CSIDriver(), CSINode(), CSIStorageCapacity(), StorageClass(), VolumeAttachment(), attributes, attributes.In("v1beta1")}
}
