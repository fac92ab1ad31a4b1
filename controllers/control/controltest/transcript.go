package controltest

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// write notes a write for the transcript.
func (w *World) write(verb string, obj client.Object, details string) {
	if w.silent {
		return
	}
	line := fmt.Sprintf("%s %s %s", verb, w.kind(obj), obj.GetName())
	if details != "" {
		line += ": " + details
	}
	w.writes = append(w.writes, line)
}

// flush moves what one reconciliation did to the transcript: writes, then
// events, those made in parallel in order of their text.
func (w *World) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pendingLines = append(w.pendingLines, sortRuns(w.writes, 2)...)
	w.pendingLines = append(w.pendingLines, sortRuns(w.events, 3)...)
	w.writes, w.events = nil, nil
}

// sortRuns sorts consecutive lines with the same first words.
func sortRuns(lines []string, words int) []string {
	prefix := func(s string) string {
		f := strings.Fields(s)
		return strings.Join(f[:min(words, len(f))], " ")
	}
	for i := 0; i < len(lines); {
		j := i
		for j < len(lines) && prefix(lines[j]) == prefix(lines[i]) {
			j++
		}
		// Updates are made one after the other: their order means something.
		if !strings.HasPrefix(lines[i], "status ") && !strings.HasPrefix(lines[i], "update ") {
			sort.Strings(lines[i:j])
		}
		i = j
	}
	return lines
}

// Recorder returns a recorder that writes to the transcript.
func (w *World) Recorder() record.EventRecorder { return recorder{w} }

type recorder struct{ w *World }

func (r recorder) Event(obj runtime.Object, kind, reason, message string) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.events = append(r.w.events, fmt.Sprintf("event %s %s %s", kind, reason, message))
}

func (r recorder) Eventf(obj runtime.Object, kind, reason, format string, args ...any) {
	r.Event(obj, kind, reason, fmt.Sprintf(format, args...))
}

func (r recorder) AnnotatedEventf(obj runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	r.Eventf(obj, kind, reason, format, args...)
}

func fields(obj any) map[string]any {
	data, err := json.Marshal(obj)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		return map[string]any{"error": err.Error()}
	}
	return out
}

func spec(obj any) any { return fields(obj)["spec"] }

// describe prints what a reader wants to know of a created object.
func describe(obj client.Object) string {
	var out []string
	f := fields(obj)
	if s, ok := f["spec"].(map[string]any); ok {
		if n, ok := s["replicas"]; ok {
			out = append(out, fmt.Sprintf("replicas=%v", n))
		}
	}
	for _, ref := range obj.GetOwnerReferences() {
		out = append(out, "owner="+ref.Name)
	}
	return strings.Join(out, " ")
}

// diff prints the fields that differ, without those that always do.
func diff(old, now client.Object) string {
	a, b := map[string]string{}, map[string]string{}
	flatten("", fields(old), a)
	flatten("", fields(now), b)
	var out []string
	for k, v := range b {
		if a[k] != v {
			out = append(out, k+"="+v)
		}
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			out = append(out, k+"=-")
		}
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

func flatten(path string, v any, out map[string]string) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			switch {
			case path == "metadata" && (k == "resourceVersion" || k == "generation" || k == "managedFields" || k == "creationTimestamp"):
			case path == "" && (k == "kind" || k == "apiVersion"):
			case path == "" && (k == "spec" || k == "status"):
				flatten(k, e, out)
			case path == "":
				flatten(k, e, out)
			default:
				flatten(strings.TrimPrefix(path+"."+k, "metadata."), e, out)
			}
		}
	case []any:
		if strings.HasSuffix(path, "conditions") {
			for _, e := range x {
				c, ok := e.(map[string]any)
				if !ok {
					continue
				}
				text := fmt.Sprint(c["status"])
				for _, k := range []string{"reason", "message"} {
					if s, ok := c[k].(string); ok && s != "" {
						text += fmt.Sprintf("/%s", s)
					}
				}
				out[fmt.Sprintf("%s[%v]", path, c["type"])] = fmt.Sprintf("%q", text)
			}
			return
		}
		data, _ := json.Marshal(x)
		out[path] = string(data)
	default:
		data, _ := json.Marshal(x)
		out[path] = string(data)
	}
}
