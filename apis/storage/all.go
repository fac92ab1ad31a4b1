// Package storage holds the kinds of group storage.k8s.io.
package storage

import "proa/apis/kind"

// Kinds lists the kinds of the group.
func Kinds() []kind.Any {
	return []kind.Any{CSIDriver(), CSINode(), CSIStorageCapacity(), StorageClass(), VolumeAttachment(), VolumeAttributesClass()}
}
