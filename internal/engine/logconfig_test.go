package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/logs"
)

func TestLogBound(t *testing.T) {
	type opts = map[string]string
	for _, c := range []struct {
		engine, asked, want container.LogConfig
		bound               logs.Bound
	}{
		{want: container.LogConfig{Type: "json-file", Config: opts{}}, bound: logs.Bound{Size: 20 << 20, Files: 5}},
		{
			asked: container.LogConfig{Type: "local"},
			want:  container.LogConfig{Type: "local", Config: opts{}}, bound: logs.Bound{Size: 20 << 20, Files: 5},
		},
		{
			asked: container.LogConfig{Type: "local", Config: opts{"max-size": "10m", "compress": "true", "mode": "blocking"}},
			want:  container.LogConfig{Type: "local", Config: opts{"max-size": "10m", "compress": "true", "mode": "blocking"}},
			bound: logs.Bound{Size: 10_000_000, Files: 5},
		},
		{ // of json-file there is one part, unless more are asked for
			asked: container.LogConfig{Type: "json-file", Config: opts{"max-size": "10m"}},
			want:  container.LogConfig{Type: "json-file", Config: opts{"max-size": "10m"}}, bound: logs.Bound{Size: 10_000_000, Files: 1},
		},
		{
			engine: container.LogConfig{Type: "json-file", Config: opts{"max-size": "1k", "max-file": "2"}},
			asked:  container.LogConfig{Config: opts{"max-file": "3"}},
			want:   container.LogConfig{Type: "json-file", Config: opts{"max-size": "1k", "max-file": "3"}}, bound: logs.Bound{Size: 1000, Files: 3},
		},
		{ // another driver than the engine's: its options do not hold
			engine: container.LogConfig{Type: "json-file", Config: opts{"max-size": "1k"}},
			asked:  container.LogConfig{Type: "local"},
			want:   container.LogConfig{Type: "local", Config: opts{}}, bound: logs.Bound{Size: 20 << 20, Files: 5},
		},
		{
			asked: container.LogConfig{Config: opts{"max-size": "-1"}},
			want:  container.LogConfig{Type: "json-file", Config: opts{"max-size": "-1"}},
		},
	} {
		e := &Engine{cfg: Config{Logs: c.engine}}
		got := e.logDefaults(c.asked)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v: %s", c.asked, diff)
		}
		if err := checkLogs(got); err != nil {
			t.Errorf("%+v: %v", c.asked, err)
		}
		if b, err := logBound(got); err != nil || b != c.bound {
			t.Errorf("%+v: %+v, %v, want %+v", c.asked, b, err, c.bound)
		}
	}
}
