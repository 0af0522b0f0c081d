package engine

import (
	"maps"
	"strconv"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/logs"
)

// Names of log drivers. json-file and local are two names of one way to keep
// output, but for what their options mean without each other.
const (
	logLocal = "local"
	logJSON  = "json-file"
	logNone  = "none"

	// defaultLogDriver is Docker's, whose name is a promise: some clients
	// (docker-py) read logs of no other.
	defaultLogDriver = logJSON
)

// defaultLogBound is Docker's of the driver local: 100 MiB. It holds for
// json-file as well, so that no workload fills the host's disk by its output.
var defaultLogBound = logs.Bound{Size: 20 << 20, Files: 5}

// logDefaults makes a log configuration complete with the engine's, as Docker
// does: options of the default driver hold for who names that one or none.
func (e *Engine) logDefaults(c container.LogConfig) container.LogConfig {
	d := e.cfg.Logs
	if d.Type == "" {
		d.Type = defaultLogDriver
	}
	if c.Type == "" {
		c.Type = d.Type
	}
	opts := map[string]string{}
	if c.Type == d.Type {
		maps.Copy(opts, d.Config)
	}
	maps.Copy(opts, c.Config)
	c.Config = opts
	return c
}

// checkLogs validates a log configuration.
func checkLogs(c container.LogConfig) error {
	switch c.Type {
	case "", logLocal, logJSON:
	case logNone:
		return nil // as Docker, which does not look at its options
	default:
		return invalid("logger: no log driver named '%s' is registered", c.Type)
	}
	for key, value := range c.Config {
		switch key {
		case "max-size", "max-file":
		case "compress": // says how Docker keeps it; the bound holds either way
			if _, err := strconv.ParseBool(value); err != nil {
				return invalid("invalid value for compress: %s", value)
			}
		case "mode":
			switch container.LogMode(value) {
			case container.LogModeUnset, container.LogModeBlocking:
			case container.LogModeNonBlock: // so it is: nobody has to take what is written
			default:
				return invalid("logger: logging mode not supported: %s", value)
			}
		case "max-buffer-size":
			if container.LogMode(c.Config["mode"]) != container.LogModeNonBlock {
				return invalid("logger: max-buffer-size option is only supported with 'mode=%s'", container.LogModeNonBlock)
			}
			if _, err := units.RAMInBytes(value); err != nil {
				return invalid("logger: error parsing option max-buffer-size: %v", err)
			}
		case "labels", "labels-regex", "env", "env-regex", "tag":
			if c.Type == logJSON {
				continue
			}
			fallthrough
		default:
			if c.Type == logJSON {
				return invalid("unknown log opt '%s' for json-file log driver", key)
			}
			return invalid("unknown log opt '%s' for log driver local", key)
		}
	}
	if err := checkDetails(c.Config); err != nil {
		return err
	}
	_, err := logBound(c)
	return err
}

// logBound is what is kept of a container's output.
func logBound(c container.LogConfig) (logs.Bound, error) {
	b := defaultLogBound
	size, sized := c.Config["max-size"]
	files, filed := c.Config["max-file"]
	if sized {
		n, err := units.FromHumanSize(size)
		switch {
		case size == "-1": // Docker's word for no bound
			return logs.Bound{}, nil
		case err != nil:
			return b, invalid("invalid value for max-size: %s: %v", size, err)
		case n <= 0:
			return b, invalid("max-size must be a positive number")
		}
		b.Size = n
		if c.Type == logJSON {
			b.Files = 1
		}
	}
	if filed {
		n, err := strconv.Atoi(files)
		switch {
		case err != nil:
			return b, invalid("invalid value for max-file: %s", files)
		case n < 1:
			return b, invalid("max-file cannot be less than 1")
		}
		b.Files = n
	}
	if b.Files > 1<<20 || b.Size > 1<<42 {
		return b, invalid("max-size and max-file are more than any disk has: leave them smaller, or set max-size=-1 for no bound")
	}
	return b, nil
}

// bound is what is kept of the container's output. It was checked when the
// container was created.
func (rec *record) bound() logs.Bound {
	b, err := logBound(rec.Host.LogConfig)
	if err != nil {
		return defaultLogBound
	}
	return b
}

// How often a log is looked at that its agent does not bound: more often while
// it grows.
const (
	logPauseMin = 10 * time.Millisecond
	logPauseMax = 500 * time.Millisecond
)

// trimLog bounds the log once, as is due after a time without a daemon.
func (c *Container) trimLog(rec *record) {
	if rec.Host.LogConfig.Type == logNone {
		return
	}
	if _, err := logs.Trim(c.dir.Log(), rec.bound()); err != nil {
		c.e.log.Warn("a container's log may grow beyond its bound", "container", c.id, "error", err)
	}
}

// watchLog keeps the log of a container that runs on k within its bound, if
// its agent cannot, because it writes to a port. It returns when the container
// has ended or the engine closes.
func (c *Container) watchLog(k kernel.Kernel, ended <-chan struct{}) {
	rec, _ := c.snapshot()
	bound := rec.bound()
	if rec.Host.LogConfig.Type == logNone || bound == (logs.Bound{}) || k.Log() == c.dir.Log() {
		return
	}
	pause, failed := logPauseMax, false
	last := bound.Size
	for {
		room, err := logs.Trim(c.dir.Log(), bound)
		if err != nil && !failed {
			c.e.log.Warn("a container's log may grow beyond its bound", "container", c.id, "error", err)
		}
		failed = err != nil
		switch wrote := last - room; {
		case wrote < 0, wrote > room/4: // trimmed, or it will be soon
			pause = max(pause/2, logPauseMin)
		case wrote < room/16:
			pause = min(pause*2, logPauseMax)
		}
		last = room
		select {
		case <-time.After(pause):
		case <-ended:
			c.trimLog(rec)
			return
		case <-k.Done():
			c.trimLog(rec)
			return
		case <-c.e.ctx.Done():
			return
		}
	}
}
