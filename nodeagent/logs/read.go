package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// stampFormat is how timestamps are shown: nanoseconds in full.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// runningPeriod is how often a reader that follows asks whether the container
// still runs; new lines it hears of at once.
const runningPeriod = time.Second

// Options say what of a log to read. The zero value is all of it.
type Options struct {
	// Follow goes on with what is written until the container has ended.
	Follow bool
	// Since leaves out older records.
	Since time.Time
	// Timestamps puts each line's time before it.
	Timestamps bool
	// Tail is how many records from the end to begin at; negative means all.
	Tail int64
	// Limit is how many bytes to write at most; negative means any number.
	Limit int64
}

// OptionsOf translates the options of the API. now is what sinceSeconds
// counts from.
func OptionsOf(o *v1.PodLogOptions, now time.Time) Options {
	out := Options{Follow: o.Follow, Timestamps: o.Timestamps, Tail: -1, Limit: -1}
	if o.SinceSeconds != nil {
		out.Since = now.Add(-time.Duration(*o.SinceSeconds) * time.Second)
	}
	if o.SinceTime != nil {
		out.Since = o.SinceTime.Time
	}
	if o.TailLines != nil {
		out.Tail = *o.TailLines
	}
	if o.LimitBytes != nil {
		out.Limit = *o.LimitBytes
	}
	return out
}

// Read writes the log at path to stdout and stderr; nil for either leaves
// that stream out. With Follow it goes on until the context is done (which is
// no error), running says no and all is read, or the limit is reached, and
// moves on to the new file when the log is rotated. running may be nil without Follow.
func Read(ctx context.Context, path string, o Options, running func(context.Context) (bool, error), stdout, stderr io.Writer) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	r := &reader{path: path, file: f, out: writer{o: o, stdout: stdout, stderr: stderr, left: o.Limit}}
	defer func() { _ = r.file.Close() }()
	start, err := tailStart(f, o.Tail)
	if err != nil {
		return fmt.Errorf("failed to tail %d lines of log file %q: %w", o.Tail, path, err)
	}
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("failed to seek %d in log file %q: %w", start, path, err)
	}
	r.buffered = bufio.NewReaderSize(f, 64<<10)
	if !o.Follow {
		return ended(r.drain(ctx, true))
	}
	return ended(r.follow(ctx, running))
}

// errEnough ends a read that has reached its limit.
var errEnough = errors.New("the limit is reached")

func ended(err error) error {
	if errors.Is(err, errEnough) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func open(path string) (*os.File, error) {
	// A log may be a link that another runtime made.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("failed to try resolving symlinks in path %q: %w", path, err)
	}
	f, err := os.Open(real)
	if err != nil {
		return nil, fmt.Errorf("failed to open log file %q: %w", real, err)
	}
	return f, nil
}

// reader is one read of a log, through rotations.
type reader struct {
	path     string
	file     *os.File
	buffered *bufio.Reader
	half     []byte // a line whose end is not written yet
	out      writer
}

// follow drains the file whenever something was written to it.
func (r *reader) follow(ctx context.Context, running func(context.Context) (bool, error)) error {
	// Watch before reading, so that nothing falls in between; the directory,
	// as the file changes by rotation.
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("failed to create fsnotify watcher: %w", err)
	}
	defer func() { _ = watcher.Close() }()
	dir := filepath.Dir(r.file.Name())
	if err := watcher.Add(dir); err != nil {
		return fmt.Errorf("failed to watch directory %q: %w", dir, err)
	}
	ticker := time.NewTicker(runningPeriod)
	defer ticker.Stop()
	for {
		// Ask first and read then: what the container wrote before it ended
		// is in the file by the time the answer is no.
		alive, err := running(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		if !alive {
			return r.flush()
		}
		if err := r.wait(ctx, watcher, ticker); err != nil {
			return err
		}
	}
}

// wait returns at the tick that asks again whether the container runs, having
// written in between whatever came.
func (r *reader) wait(ctx context.Context, watcher *fsnotify.Watcher, ticker *time.Ticker) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			return nil
		case err, ok := <-watcher.Errors:
			if !ok {
				return errors.New("the file watch ended")
			}
			// Events may have been lost; the next tick reads on.
			klog.FromContext(ctx).V(2).Info("File watch reports an error", "err", err)
		case event, ok := <-watcher.Events:
			if !ok {
				return errors.New("the file watch ended")
			}
			if filepath.Base(event.Name) != filepath.Base(r.path) && filepath.Base(event.Name) != filepath.Base(r.file.Name()) {
				continue
			}
			var err error
			if event.Has(fsnotify.Create) || event.Has(fsnotify.Rename) {
				err = r.catchUp(ctx)
			} else {
				err = r.drain(ctx, false)
			}
			if err != nil {
				return err
			}
		}
	}
}

// catchUp reads to the end of the log, going over to new files.
func (r *reader) catchUp(ctx context.Context) error {
	for {
		if err := r.drain(ctx, false); err != nil {
			return err
		}
		next, err := r.rotated()
		if err != nil || next == nil {
			return err
		}
		// The runtime writes to the new file only now; the old one is complete.
		if err := r.drain(ctx, true); err != nil {
			_ = next.Close()
			return err
		}
		_ = r.file.Close()
		r.file = next
		r.buffered.Reset(next)
	}
}

// rotated returns the file that has taken the log's place, or nil.
func (r *reader) rotated() (*os.File, error) {
	next, err := open(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // between renaming and reopening, or removed
	} else if err != nil {
		return nil, err
	}
	was, err := r.file.Stat()
	if err != nil {
		_ = next.Close()
		return nil, err
	}
	is, err := next.Stat()
	if err != nil {
		_ = next.Close()
		return nil, err
	}
	if os.SameFile(was, is) {
		_ = next.Close()
		return nil, nil
	}
	return next, nil
}

// drain writes all records up to the end of the file. A line without an end
// is kept for later, or written if complete is true.
func (r *reader) drain(ctx context.Context, complete bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := r.buffered.ReadSlice('\n')
		switch {
		case err == nil && len(r.half) == 0:
			if err := r.out.write(ctx, line); err != nil {
				return err
			}
			continue
		case err == nil:
			r.half = append(r.half, line...)
			whole := r.half
			r.half = r.half[:0]
			if err := r.out.write(ctx, whole); err != nil {
				return err
			}
			continue
		}
		r.half = append(r.half, line...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if complete {
				return r.flush()
			}
			return nil
		default:
			return fmt.Errorf("failed to read log file %q: %w", r.path, err)
		}
	}
}

// flush writes a last line that has no end.
func (r *reader) flush() error {
	if len(r.half) == 0 {
		return nil
	}
	line := r.half
	r.half = nil
	return r.out.write(context.Background(), line)
}

// writer puts records out as the options say.
type writer struct {
	o              Options
	stdout, stderr io.Writer
	left           int64 // bytes that may still be written, negative without limit
	inLine         bool  // the record before was partial
}

func (w *writer) write(ctx context.Context, line []byte) error {
	r, err := parse(line)
	if err != nil {
		// A damaged line must not hide the rest.
		klog.FromContext(ctx).V(2).Info("Skipping a log line that is not in the CRI format", "err", err)
		return nil
	}
	if !w.o.Since.IsZero() && r.time.Before(w.o.Since) {
		return nil
	}
	out := w.stdout
	if r.stream == Stderr {
		out = w.stderr
	}
	if out == nil {
		return nil
	}
	text := r.text
	if w.o.Timestamps && !w.inLine {
		text = append(append(r.time.AppendFormat(make([]byte, 0, len(stampFormat)+1+len(text)), stampFormat), ' '), text...)
	}
	w.inLine = r.partial
	if w.left < 0 {
		_, err := out.Write(text)
		return err
	}
	if int64(len(text)) > w.left {
		text = text[:w.left]
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	if w.left -= int64(len(text)); w.left == 0 {
		return errEnough
	}
	return nil
}

// tailStart returns where the last n lines begin; negative n means all. A
// last line without an end counts.
func tailStart(f io.ReadSeeker, n int64) (int64, error) {
	if n < 0 {
		return 0, nil
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		// Begin with whole lines only.
		return lineStart(f, end)
	}
	const block = 32 << 10
	buf := make([]byte, block)
	lines := int64(0)
	for hi := end; hi > 0; {
		lo := max(0, hi-block)
		chunk := buf[:hi-lo]
		if err := readAt(f, chunk, lo); err != nil {
			return 0, err
		}
		for i := len(chunk) - 1; i >= 0; i-- {
			// The newline at the very end closes the last line.
			if chunk[i] != '\n' || lo+int64(i) == end-1 {
				continue
			}
			if lines++; lines == n {
				return lo + int64(i) + 1, nil
			}
		}
		hi = lo
	}
	return 0, nil
}

// lineStart returns end, or where the unfinished last line begins.
func lineStart(f io.ReadSeeker, end int64) (int64, error) {
	const block = 32 << 10
	buf := make([]byte, block)
	for hi := end; hi > 0; {
		lo := max(0, hi-block)
		chunk := buf[:hi-lo]
		if err := readAt(f, chunk, lo); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(chunk, '\n'); i >= 0 {
			return lo + int64(i) + 1, nil
		}
		hi = lo
	}
	return 0, nil
}

func readAt(f io.ReadSeeker, buf []byte, at int64) error {
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return err
	}
	_, err := io.ReadFull(f, buf)
	return err
}
