// Package parity holds the promise that isolation is one field and nothing
// else changes: each script of testdata runs once per isolation, against the
// real engine, through the real CLI.
//
// A script sees ISOLATION (container or vm), NAME (a name prefix of its own)
// and PORT (a free host port). Besides testscript's own commands there is
// `exits CODE COMMAND...`, which wants that exit code exactly, and
// `wait-for COMMAND...`, which repeats a command until it succeeds.
package parity

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/abode-run/abode/test/harness"
)

var isolations = []string{"container", "vm"}

var engine *harness.Engine

func TestMain(m *testing.M) { os.Exit(harness.Main(m, &engine)) }

func TestParity(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Files: scripts,
				Setup: func(env *testscript.Env) error { return setup(env, isolation) },
				Condition: func(cond string) (bool, error) {
					if !slices.Contains(isolations, cond) {
						return false, fmt.Errorf("unknown condition %q", cond)
					}
					return cond == isolation, nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"exits":    exits,
					"wait-for": waitFor,
					"apps":     apps,
				},
			})
		})
	}
}

func setup(env *testscript.Env, isolation string) error {
	busybox, err := harness.Asset("busybox.tar")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(env.WorkDir), ".txtar")
	name = "t-" + isolation + "-" + strings.ReplaceAll(strings.TrimPrefix(name, "script-"), "_", "-")
	for _, kv := range engine.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		env.Setenv(k, v)
	}
	env.Setenv("ISOLATION", isolation)
	env.Setenv("NAME", name)
	env.Setenv("PORT", port)
	env.Setenv("BUSYBOX", busybox)
	env.Setenv("HOME", env.WorkDir)
	env.Defer(func() { removeAll(name) })
	return nil
}

// removeAll removes the containers, volumes and networks of one script.
func removeAll(prefix string) {
	for _, list := range [][]string{{"ps", "-a", "--format", "{{.Names}}"}, {"volume", "ls", "-q"}, {"network", "ls", "--format", "{{.Name}}"}} {
		out, _ := engine.Try(list...)
		for _, n := range strings.Fields(out) {
			switch {
			case n != prefix && !strings.HasPrefix(n, prefix+"-"):
			case list[0] == "ps":
				engine.Try("rm", "-f", "-v", n)
			default:
				engine.Try(list[0], "rm", n)
			}
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	var err error
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = ts.Exec(args[0], args[1:]...); (err == nil) != neg {
			return
		}
	}
	ts.Fatalf("%s: still %v", strings.Join(args, " "), err)
}

// apps imports the Debian image with nginx, redis, PostgreSQL and python3 at
// its first use.
func apps(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(importApps())
}

var importApps = sync.OnceValue(func() error { return engine.Import("debian-apps") })
