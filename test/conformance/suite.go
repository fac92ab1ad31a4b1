package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// runSuite runs the tests and prints a line for each that ended.
func runSuite(ctx context.Context, o options, c *cluster) error {
	log, err := os.Create(filepath.Join(o.out, "e2e.log"))
	if err != nil {
		return err
	}
	defer log.Close()

	args := []string{filepath.Join(o.bin, "conformance", "ginkgo"), "run",
		"--procs=" + strconv.Itoa(o.procs), "--timeout=12h", "--no-color", "--silence-skips", "-v",
		"--label-filter=" + o.label, "--output-dir=" + o.out, "--junit-report=junit.xml"}
	if o.focus != "" {
		args = append(args, "--focus="+o.focus)
	}
	if o.skip != "" {
		args = append(args, "--skip="+o.skip)
	}
	args = append(args, filepath.Join(o.bin, "conformance", "e2e.test"), "--",
		"--provider=skeleton", "--kubeconfig="+c.kubeconfig(), "--kubectl-path="+filepath.Join(o.bin, "tools", "kubectl"),
		"--num-nodes="+strconv.Itoa(len(c.machines)), "--disable-log-dump")
	cmd := c.server.command(ctx, args...)
	cmd.Dir = o.out
	// ginkgo compares its version with that of the go.mod it stands in: there is
	// none here, and no module proxy to be asked.
	cmd.Env = append(cmd.Env, "GOPROXY=off", "GOFLAGS=-mod=mod")
	output := io.MultiWriter(log, newProgress(os.Stdout))
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// ginkgo ends its processes when interrupted, and still writes the report.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	fmt.Printf("the suite's output goes to %s\n", log.Name())
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("not all tests passed: %w; see %s", err, log.Name())
	}
	return nil
}
