package nodeagent

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/cri"
)

const (
	maxTerminationMessage      = 4096
	maxTerminationMessageLogs  = 2048
	terminationMessageLogLines = 80
)

// terminationMessage completes an exited container with what it left in its
// message file or, where its policy says so and it failed, at the end of its log.
func terminationMessage(c *cri.Container) {
	if path := c.TerminationMessageHostPath; path != "" {
		if data, err := tail(path, maxTerminationMessage, false); err != nil {
			if !os.IsNotExist(err) {
				c.Message = "Error on reading termination log " + path + ": " + err.Error()
				return
			}
		} else if len(data) > 0 {
			c.Message = join(c.Message, string(data))
			return
		}
	}
	if c.TerminationMessagePolicy == v1.TerminationMessageFallbackToLogsOnError && c.ExitCode != 0 && c.Reason != "ContainerCannotRun" && c.LogPath != "" {
		if data, err := tail(c.LogPath, 64<<10, true); err == nil {
			c.Message = join(c.Message, lastLines(data))
		}
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ": " + b
}

// tail reads at most n bytes of a file: its end, or its beginning.
func tail(path string, n int64, end bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if end {
		if fi, err := f.Stat(); err == nil && fi.Size() > n {
			if _, err := f.Seek(-n, io.SeekEnd); err != nil {
				return nil, err
			}
			data, err := io.ReadAll(io.LimitReader(f, n))
			// The first line is likely cut.
			if i := bytes.IndexByte(data, '\n'); i >= 0 {
				data = data[i+1:]
			}
			return data, err
		}
	}
	return io.ReadAll(io.LimitReader(f, n))
}

// lastLines takes the last lines out of a log in the runtime's format
// ("time stream tag message") and returns their messages.
func lastLines(log []byte) string {
	lines := strings.Split(strings.TrimSuffix(string(log), "\n"), "\n")
	if len(lines) > terminationMessageLogLines {
		lines = lines[len(lines)-terminationMessageLogLines:]
	}
	var b strings.Builder
	for _, l := range lines {
		f := strings.SplitN(l, " ", 4)
		if len(f) < 4 {
			var j struct{ Log string }
			if json.Unmarshal([]byte(l), &j) == nil {
				b.WriteString(j.Log)
			}
			continue
		}
		b.WriteString(f[3])
		if !strings.HasPrefix(f[2], "P") {
			b.WriteByte('\n')
		}
	}
	out := b.String()
	if len(out) > maxTerminationMessageLogs {
		out = out[len(out)-maxTerminationMessageLogs:]
	}
	return out
}
