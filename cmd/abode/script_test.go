package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	if os.Getenv("ABODE_TEST_MAIN") != "" { // see abode in run_test.go
		os.Exit(run(os.Args[1:]))
	}
	testscript.Main(m, map[string]func(){
		"abode":  func() { os.Exit(run(os.Args[1:])) },
		"aboded": fakeDaemon,
	})
}

// TestScripts runs testdata/*.txtar against the CLI. `end-engine SOCKET` ends a
// fake engine that a script had started on demand.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, "docker"))
			e.Setenv("ABODE_HOST", "unix://"+filepath.Join(e.WorkDir, "none.sock"))
			e.Defer(func() { // whatever a script that failed left running
				sockets, _ := filepath.Glob(filepath.Join(e.WorkDir, "*.sock"))
				for _, s := range sockets {
					_ = stopFake(s)
				}
			})
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"end-engine": func(ts *testscript.TestScript, neg bool, args []string) {
				ts.Check(stopFake(ts.MkAbs(args[0])))
			},
		},
	})
}

// fakeDaemon stands for aboded: it takes its flags, says them in its log,
// and answers a ping and a version until it is told to stop.
func fakeDaemon() {
	if os.Getenv("ABODE_TEST_FAIL") != "" {
		fmt.Println("no kernel module erofs; modprobe erofs")
		os.Exit(3)
	}
	var host, root, runDir, bridge, subnet string
	f := flag.NewFlagSet("aboded", flag.ExitOnError)
	for name, p := range map[string]*string{"host": &host, "root": &root, "run": &runDir, "bridge": &bridge, "subnet": &subnet} {
		f.StringVar(p, name, "", "")
	}
	_ = f.Parse(os.Args[1:])
	fmt.Println("flags:", strings.Join(os.Args[1:], " "))
	l, err := net.Listen("unix", strings.TrimPrefix(host, "unix://"))
	if err != nil {
		fmt.Println("cannot listen:", err)
		os.Exit(1)
	}
	stop := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.51")
		switch {
		case strings.HasSuffix(r.URL.Path, "/version"):
			fmt.Fprintf(w, `{"Version":"fake","ApiVersion":"1.51","Components":[{"Name":"Engine","Version":"pid %d"}]}`, os.Getpid())
		case r.URL.Path == "/stop":
			close(stop)
		}
	})}
	go func() { _ = server.Serve(l) }()
	<-stop
	_ = server.Shutdown(context.Background())
	os.Exit(0)
}

func stopFake(socket string) error {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	r, err := c.Get("http://abode/stop")
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return r.Body.Close()
}
