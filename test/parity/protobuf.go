package parity

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// What is looked at of a stored object (the wire format of protocol buffers and
// k8s.io/apimachinery's generated.proto).
const (
	unknownRaw            = 2 // runtime.Unknown
	objectMetadata        = 1 // every kind
	metaUID               = 5 // ObjectMeta
	metaCreationTimestamp = 8
	metaManagedFields     = 17
)

var storedPrefix = []byte("k8s\x00")

// anonymous is a stored object without what differs between any two writes of it:
// its identity, times and managed fields. JSON is returned as it is.
func anonymous(value []byte) ([]byte, error) {
	value = uuid.ReplaceAll(value, []byte("00000000-0000-0000-0000-000000000000"))
	rest, ok := bytes.CutPrefix(value, storedPrefix)
	if !ok {
		return value, nil
	}
	return edited(rest, func(field int, content []byte) ([]byte, error) {
		if field != unknownRaw {
			return content, nil
		}
		return edited(content, func(field int, content []byte) ([]byte, error) {
			if field != objectMetadata {
				return content, nil
			}
			return edited(content, func(field int, content []byte) ([]byte, error) {
				if field == metaUID || field == metaCreationTimestamp || field == metaManagedFields {
					return nil, nil
				}
				return content, nil
			})
		})
	})
}

var errWire = errors.New("no protocol buffer")

// edited is a message with the contents of its length-delimited fields changed by
// edit; nil takes a field out.
func edited(message []byte, edit func(field int, content []byte) ([]byte, error)) ([]byte, error) {
	var out []byte
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return nil, errWire
		}
		body := message[n:]
		size := 0
		switch tag & 7 {
		case 0:
			_, size = binary.Uvarint(body)
		case 1:
			size = 8
		case 5:
			size = 4
		case 2:
			length, m := binary.Uvarint(body)
			if m <= 0 || length > uint64(len(body)-m) {
				return nil, errWire
			}
			content, err := edit(int(tag>>3), body[m:m+int(length)])
			if err != nil {
				return nil, err
			}
			if content != nil || length == 0 {
				out = binary.AppendUvarint(append(out, message[:n]...), uint64(len(content)))
				out = append(out, content...)
			}
			message = body[m+int(length):]
			continue
		default:
			return nil, errWire
		}
		if size <= 0 || size > len(body) {
			return nil, errWire
		}
		out = append(out, message[:n+size]...)
		message = body[size:]
	}
	return out, nil
}
