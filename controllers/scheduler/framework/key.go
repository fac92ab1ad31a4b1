package framework

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Key is the shape of a pod under construction: a string of length-prefixed
// values, so that different pods cannot run into the same bytes.
type Key []byte

// String appends a string.
func (k Key) String(s string) Key {
	return append(binary.AppendUvarint(k, uint64(len(s))), s...)
}

// Int appends a number.
func (k Key) Int(n int64) Key { return binary.AppendVarint(k, n) }

// Map appends a map in key order.
func (k Key) Map(m map[string]string) Key {
	k = k.Int(int64(len(m)))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k = k.String(name).String(m[name])
	}
	return k
}

// Resources appends a resource vector.
func (k Key) Resources(r Resources) Key {
	k = k.Int(r.MilliCPU).Int(r.Memory).Int(r.EphemeralStorage).Int(int64(len(r.Scalar)))
	for _, name := range slices.Sorted(maps.Keys(r.Scalar)) {
		k = k.String(string(name)).Int(r.Scalar[name])
	}
	return k
}

// Tolerations appends tolerations.
func (k Key) Tolerations(list []v1.Toleration) Key {
	k = k.Int(int64(len(list)))
	for i := range list {
		t := &list[i]
		k = k.String(t.Key).String(string(t.Operator)).String(t.Value).String(string(t.Effect))
	}
	return k
}

// JSON appends a rarely used API value; nil appends nothing but a mark.
func (k Key) JSON(value any) Key {
	data, err := json.Marshal(value)
	if err != nil {
		// API types always marshal; an unmarshalable one only loses sharing.
		data = []byte(err.Error())
	}
	return k.String(string(data))
}
