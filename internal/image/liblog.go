package image

import (
	"io"
	"log/slog"
	"math"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// libraryLogger passes what containerd's libraries log through logrus on to
// to, at debug level unless it is an error: they log each failed attempt, and
// what counts of these reaches the user as an error.
func libraryLogger(to *slog.Logger) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.InfoLevel)
	l.AddHook(slogHook{to})
	return logrus.NewEntry(l)
}

// setGlobals sets, once, what the libraries keep in variables: the log that
// they use without a context, and how large a manifest may be, which is
// checked here, with a better message.
var setGlobals = sync.OnceFunc(func() {
	log.L = libraryLogger(slog.Default())
	docker.MaxManifestSize = math.MaxInt64
})

type slogHook struct{ to *slog.Logger }

// Levels and Fire implement logrus.Hook.
func (slogHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h slogHook) Fire(e *logrus.Entry) error {
	args := make([]any, 0, 2*len(e.Data))
	for k, v := range e.Data {
		args = append(args, k, v)
	}
	if e.Level <= logrus.ErrorLevel {
		h.to.Warn(e.Message, args...)
	} else {
		h.to.Debug(e.Message, args...)
	}
	return nil
}
