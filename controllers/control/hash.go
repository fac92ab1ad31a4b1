package control

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/dump"
)

// TemplateHash is the value of the pod-template-hash and
// controller-revision-hash labels: FNV-32a over the printed template and, if
// set, the collision count, in an alphabet without vowels.
func TemplateHash(template *corev1.PodTemplateSpec, collisionCount *int32) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%v", dump.ForHash(*template))
	writeCollisions(h, collisionCount)
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}

func writeCollisions(h interface{ Write([]byte) (int, error) }, count *int32) {
	if count == nil {
		return
	}
	// Eight bytes of which four are used: part of the hash's definition.
	b := make([]byte, 8)
	binary.LittleEndian.PutUint32(b, uint32(*count))
	_, _ = h.Write(b)
}
