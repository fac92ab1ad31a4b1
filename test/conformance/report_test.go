package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const firstRun = `<testsuites><testsuite>
<testcase name="[SynchronizedBeforeSuite]" status="passed"></testcase>
<testcase name="[It] [sig-cli] Kubectl logs [Conformance]" status="passed"></testcase>
<testcase name="[It] [sig-cli] Kubectl proxy [Conformance]" status="failed"><failure message="x">y</failure></testcase>
<testcase name="[It] [sig-cli] Kubectl top [Slow]" status="failed"></testcase>
<testcase name="[It] [sig-node] Pods [NodeConformance] [Conformance]" status="skipped"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-node] Sysctls [Conformance]" status="skipped"><skipped message="skipped - not here"></skipped></testcase>
</testsuite></testsuites>`

const secondRun = `<testsuites><testsuite>
<testcase name="[It] [sig-cli] Kubectl logs [Conformance]" status="skipped"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-cli] Kubectl proxy [Conformance]" status="skipped"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-node] Pods [NodeConformance] [Conformance]" status="timedout"></testcase>
</testsuite></testsuites>`

func TestTableOfTwoRuns(t *testing.T) {
	var all results
	all.merge(read(t, "1.xml", firstRun))
	all.merge(read(t, "2.xml", secondRun))
	want := `| area | passed | failed | skipped | not run | of |
|---|--:|--:|--:|--:|--:|
| sig-cli | 1 | 1 | 0 | 0 | 2 |
| sig-node | 0 | 1 | 1 | 0 | 2 |
| all | 1 | 2 | 1 | 0 | 4 |

Failed:

- [sig-cli] Kubectl proxy
- [sig-node] Pods [NodeConformance]
`
	if got := all.table(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNotAReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "junit.xml")
	if err := os.WriteFile(file, []byte("<testsuites"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readJUnit(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out)
	for _, part := range []string{"Will run 2\n• [1.2", "34 seconds]\n[sig-cli] Kubectl logs [Conformance] [sig-cli]\n/a.go:1\n",
		"------\n• [FAILED] [5.1 seconds]\n[sig-cli] Kubectl [It] proxy [Conformance]\n"} {
		if _, err := p.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		_, line, _ := strings.Cut(line, " s  ")
		got = append(got, line)
	}
	want := []string{"  1 passed   0 failed  passed  [sig-cli] Kubectl logs", "  1 passed   1 failed  FAILED  [sig-cli] Kubectl [It] proxy"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func read(t *testing.T, name, content string) results {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := readJUnit(file)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
