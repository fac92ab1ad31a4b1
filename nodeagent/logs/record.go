package logs

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// Stream is the output a record came from.
type Stream string

// The streams of a container.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// record is one line of a log file.
type record struct {
	time    time.Time
	stream  Stream
	partial bool   // the line goes on in the next record
	text    []byte // with its newline unless partial
}

// parse reads one line of a log file, its newline included.
func parse(line []byte) (record, error) {
	var r record
	stamp, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return r, errors.New("timestamp is not found")
	}
	var err error
	if r.time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return r, fmt.Errorf("unexpected timestamp format: %w", err)
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return r, errors.New("stream type is not found")
	}
	r.stream = Stream(stream)
	if r.stream != Stdout && r.stream != Stderr {
		return r, fmt.Errorf("unexpected stream type %q", stream)
	}
	tags, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return r, errors.New("log tag is not found")
	}
	// Tags are separated by colons; the first says whether the line ends.
	first, _, _ := bytes.Cut(tags, []byte{':'})
	r.partial = string(first) == "P"
	if r.partial {
		rest = bytes.TrimSuffix(rest, []byte{'\n'})
	}
	r.text = rest
	return r, nil
}
