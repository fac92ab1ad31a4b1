package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"go.etcd.io/etcd/client/pkg/v3/logutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// fatalHook turns etcd's own way to give up, a fatal or panic log line (a
// damaged database, a lost log), into an error of Run.
type fatalHook chan error

// OnWrite implements zapcore.CheckWriteHook; it ends the calling goroutine.
func (h fatalHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := errors.New(entry.Message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			err = fmt.Errorf("%s: %w", entry.Message, cause)
		}
	}
	select {
	case h <- err:
	default: // the first one tells
	}
	runtime.Goexit()
}

func (e *Etcd) logger(fatal fatalHook) (*zap.Logger, error) {
	config := logutil.DefaultZapLoggerConfig
	config.Level = zap.NewAtomicLevelAt(zap.WarnLevel)
	config.DisableStacktrace = true
	if e.o.LogFile != "" {
		if err := os.MkdirAll(filepath.Dir(e.o.LogFile), 0o755); err != nil {
			return nil, fmt.Errorf("etcd log: %w", err)
		}
		config.OutputPaths, config.ErrorOutputPaths = []string{e.o.LogFile}, []string{e.o.LogFile}
	}
	return config.Build(zap.WithFatalHook(fatal), zap.WithPanicHook(fatal))
}
