package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"gopkg.in/natefinch/lumberjack.v2"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// logOptions say where structured logs go; the terminal is for the steps.
type logOptions struct {
	file      string
	verbosity int
}

func (o *logOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.file, "log-file", "", "where logs go; default: logs/proa.log in the data directory; - for standard error")
	f.IntVarP(&o.verbosity, "v", "v", 0, "verbosity of logs")
}

// start directs klog, and controller-runtime through it, to the log file:
// <data dir>/logs/proa.log unless named, "-" for standard error.
func (o logOptions) start(dataDir string) error {
	fs := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(fs)
	var out io.Writer = os.Stderr
	if o.file != "-" {
		path := o.file
		if path == "" {
			path = filepath.Join(dataDir, "logs", "proa.log")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("log file: %w", err)
		}
		out = &lumberjack.Logger{Filename: path, MaxSize: 50, MaxBackups: 3}
	}
	for name, value := range map[string]string{"one_output": "true", "logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL", "v": fmt.Sprint(o.verbosity)} {
		if err := fs.Set(name, value); err != nil {
			return err
		}
	}
	klog.SetOutput(out)
	ctrl.SetLogger(klog.Background())
	return nil
}
