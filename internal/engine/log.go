package engine

import (
	"context"
	"io"
	"log/slog"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// containerd writes a few lines through a package-level logger, one of them on
// every start on a host without fs-verity. They would land on the standard
// error of a program that never asked for them. Only containerd's code writes
// through log.L; a program that has set it, or sets it later, keeps its own.
func init() {
	if log.L.Logger == logrus.StandardLogger() {
		log.L = newEntry(nil)
	}
}

// newEntry makes the logger that containerd's code finds in its contexts. nil
// is silence.
func newEntry(l *slog.Logger) *log.Entry {
	r := logrus.New()
	r.SetOutput(io.Discard)
	r.SetLevel(logrus.PanicLevel)
	if l != nil {
		r.SetLevel(logrus.DebugLevel)
		r.AddHook(hook{l})
	}
	return logrus.NewEntry(r)
}

// hook passes lines on to slog.
type hook struct{ to *slog.Logger }

func (hook) Levels() []logrus.Level { return logrus.AllLevels }

func (h hook) Fire(e *logrus.Entry) error {
	level := slog.LevelDebug
	switch {
	case e.Level <= logrus.ErrorLevel:
		level = slog.LevelError
	case e.Level == logrus.WarnLevel:
		level = slog.LevelWarn
	case e.Level == logrus.InfoLevel:
		// What containerd calls info is its own housekeeping.
		level = slog.LevelDebug
	}
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background()
	}
	if !h.to.Enabled(ctx, level) {
		return nil
	}
	attrs := make([]slog.Attr, 0, len(e.Data)+1)
	attrs = append(attrs, slog.String("component", "containerd"))
	for k, v := range e.Data {
		attrs = append(attrs, slog.Any(k, v))
	}
	h.to.LogAttrs(ctx, level, e.Message, attrs...)
	return nil
}
