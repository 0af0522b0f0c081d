package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/go-digest"
)

func TestLogDetails(t *testing.T) {
	rec := &record{
		ID: strings.Repeat("ab", 32), Name: "web", Image: digest.FromString("x"), Created: time.Unix(0, 0),
		Config: &container.Config{
			Image: "img:1", Labels: map[string]string{"a.b": "1 2", "a.c": "3", "z": "&"}, Env: []string{"HOME=/x", "HOLD=1", "BARE"},
			Entrypoint: []string{"/e"}, Cmd: []string{"a", "b"},
		},
		Host: &container.HostConfig{},
	}
	type opts = map[string]string
	for want, o := range map[string]opts{
		"":                       {"labels": "none,,", "env": "BARE,x"},
		"a.b=1+2,z=%26":          {"labels": "z,a.b"},
		"a.b=1+2,a.c=3":          {"labels-regex": "^a[.]"},
		"HOME=%2Fx,z=%26":        {"labels": "z", "env": "HOME"},
		"HOLD=1,HOME=%2Fx":       {"env-regex": "^HO"},
		"tag=plain":              {"tag": "plain"},
		"tag=abababababab%2Fweb": {"tag": "{{.ID}}/{{ .Name }}"},
		"tag=%2Fe+a+b+img%3A1":   {"tag": "{{.Command}} {{.ImageName}}"},
		"tag=" + digest.FromString("x").Encoded()[:12] + "+docker": {"tag": "{{.ImageID}} {{.DaemonName}}"},
	} {
		rec.Host.LogConfig = container.LogConfig{Type: logJSON, Config: o}
		if err := checkLogs(rec.Host.LogConfig); err != nil {
			t.Errorf("%v: %v", o, err)
		}
		if got, err := rec.logDetails(); err != nil || got != want {
			t.Errorf("%v: got %q, want %q; error %v", o, got, want, err)
		}
	}
	for bad, want := range map[string]string{
		"{{.Nothing}}": "there is no .Nothing; there are .Command", "{{range 1000000000}}x{{end}}": "only fields such as {{.Name}}", "{{.ID}}{{": "only fields",
	} {
		rec.Host.LogConfig.Config = opts{"tag": bad}
		if err := checkLogs(rec.Host.LogConfig); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", bad, err, want)
		}
	}
}
