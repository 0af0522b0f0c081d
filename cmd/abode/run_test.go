package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
)

// abode runs the CLI (the test binary under another name) against a fake.
func abode(t *testing.T, host string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = "abode"
	cmd.Env = append(os.Environ(), "ABODE_TEST_MAIN=1", "ABODE_HOST="+host, "DOCKER_CONFIG="+t.TempDir())
	return cmd
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var e *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// A foreground run is attached and waited for before it starts; its streams
// stay apart and whole, its stdin is closed at the end, its code is passed on.
func TestRunForeground(t *testing.T) {
	blob := bytes.Repeat([]byte{0, 1, 2, 255, '\n', 0x1b}, 50000)
	f := newFake()
	got := make(chan []byte, 1)
	f.behave = func(conn net.Conn, in io.Reader) int {
		b, _ := io.ReadAll(in)
		got <- b
		say(conn, stdcopy.Stdout, "out\x00\xff")
		say(conn, stdcopy.Stderr, "err")
		return 42
	}
	cmd := abode(t, f.serve(t), "run", "-i", "alpine", "cat")
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(blob), &out, &errOut
	if code := exitCode(t, cmd.Run()); code != 42 {
		t.Errorf("the exit code is %d, want 42 (%s)", code, errOut.String())
	}
	if b := <-got; !bytes.Equal(b, blob) {
		t.Errorf("the container read %d bytes, which are not the %d sent", len(b), len(blob))
	}
	if out.String() != "out\x00\xff" || errOut.String() != "err" {
		t.Errorf("stdout is %q, stderr %q", out.String(), errOut.String())
	}
	want := []string{
		"HEAD /_ping", "POST /containers/create", "POST /containers/ID/attach",
		"POST /containers/ID/wait", "POST /containers/ID/start",
	}
	if got := f.log(); !slices.Equal(got, want) {
		t.Errorf("the requests are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRunDetached(t *testing.T) {
	f := newFake()
	f.behave = func(net.Conn, io.Reader) int { return 0 }
	out, err := abode(t, f.serve(t), "run", "-d", "alpine").Output()
	if err != nil || string(out) != fakeID+"\n" {
		t.Errorf("the output is %q, %v; want the ID", out, err)
	}
	if slices.Contains(f.log(), "POST /containers/ID/attach") {
		t.Error("a detached container was attached to")
	}
}

func TestRunPullsWhatIsMissing(t *testing.T) {
	f := newFake()
	f.missing = true
	f.behave = func(net.Conn, io.Reader) int { return 0 }
	cmd := abode(t, f.serve(t), "run", "alpine")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	for _, want := range []string{"Unable to find image 'alpine:latest' locally\n", "Pulling from library/", "Status: Downloaded newer image"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("stderr lacks %q: %s", want, errOut.String())
		}
	}
}

func TestRunNeverPulls(t *testing.T) {
	f := newFake()
	f.missing = true
	if code := exitCode(t, abode(t, f.serve(t), "run", "--pull", "never", "alpine").Run()); code != 125 {
		t.Errorf("the exit code is %d, want 125", code)
	}
	if slices.Contains(f.log(), "POST /images/create") {
		t.Error("it pulled in spite of --pull never")
	}
}

// The exit code tells why a command did not start, and a container with --rm
// is not left behind.
func TestRunStartFails(t *testing.T) {
	for _, c := range []struct {
		message string
		code    int
	}{
		{`exec: "nope": executable file not found in $PATH`, 127},
		{`exec: "/nope": stat /nope: no such file or directory`, 127},
		{`exec: "/etc": permission denied`, 126},
		{`exec: "/x": exec format error`, 126},
		{"out of memory", 125},
	} {
		f := newFake()
		f.startError = c.message
		cmd := abode(t, f.serve(t), "run", "--rm", "alpine", "nope")
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		if code := exitCode(t, cmd.Run()); code != c.code {
			t.Errorf("%s: the exit code is %d, want %d", c.message, code, c.code)
		}
		if want := "abode: " + c.message + "\n"; errOut.String() != want {
			t.Errorf("stderr is %q, want %q", errOut.String(), want)
		}
		if !slices.Contains(f.log(), "DELETE /containers/ID") {
			t.Errorf("%s: the container was left behind: %q", c.message, f.log())
		}
	}
}

// An interrupt while the container is created removes it, if it would be
// removed at its end; it was never started.
func TestRunInterrupted(t *testing.T) {
	f := newFake()
	cmd := abode(t, f.serve(t), "run", "--rm", "alpine")
	f.interrupted = func() { _ = cmd.Process.Signal(syscall.SIGINT) }
	if code := exitCode(t, cmd.Run()); code != 130 {
		t.Errorf("the exit code is %d, want 130", code)
	}
	if !slices.Contains(f.log(), "DELETE /containers/ID") {
		t.Errorf("the container was left behind: %q", f.log())
	}
	if slices.Contains(f.log(), "POST /containers/ID/start") {
		t.Error("it was started after the interrupt")
	}
}

// Signals are the container's once it runs.
func TestRunForwardsSignals(t *testing.T) {
	f := newFake()
	f.behave = func(net.Conn, io.Reader) int {
		if s := <-f.kills; s != "SIGHUP" {
			return 1
		}
		return 128 + 1
	}
	cmd := abode(t, f.serve(t), "run", "alpine")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-f.started
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd.Wait()); code != 129 {
		t.Errorf("the exit code is %d, want 129", code)
	}
}

// What the flags say arrives at the engine.
func TestRunFlags(t *testing.T) {
	f := newFake()
	f.behave = func(net.Conn, io.Reader) int { return 0 }
	cmd := abode(t, f.serve(t), "run", "-d", "--isolation", "vm", "--no-template", "-e", "A=1", "-e", "FROM_CALLER", "-p", "127.0.0.1:8080-8081:80-81",
		"-v", "data:/data:ro", "-v", "/anonymous", "--tmpfs", "/run:size=1m", "-m", "64m", "--cpus", "1.5", "--entrypoint", "", "--stop-timeout", "0",
		"--ulimit", "nofile=10:20", "--security-opt", "systempaths=unconfined", "--mac-address", "02:42:ac:11:00:02", "alpine", "-x", "--rm")
	cmd.Env = append(cmd.Env, "FROM_CALLER=yes")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := f.created
	h := c.HostConfig
	check := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s did not arrive", what)
		}
	}
	check("--isolation", h.Isolation == "vm")
	check("--no-template", h.Annotations["abode.no-template"] == "true")
	check("-e", slices.Equal(c.Env, []string{"A=1", "FROM_CALLER=yes"}))
	check("-p", len(h.PortBindings) == 2)
	check("-v", slices.Equal(h.Binds, []string{"data:/data:ro"}) && len(c.Volumes) == 1)
	check("--tmpfs", h.Tmpfs["/run"] == "size=1m")
	check("-m", h.Memory == 64<<20)
	check("--cpus", h.NanoCPUs == 1_500_000_000)
	check("--entrypoint", slices.Equal(c.Entrypoint, []string{""}))
	check("--stop-timeout", c.StopTimeout != nil && *c.StopTimeout == 0)
	check("--ulimit", len(h.Ulimits) == 1 && h.Ulimits[0].Soft == 10 && h.Ulimits[0].Hard == 20)
	check("systempaths", h.MaskedPaths != nil && len(h.MaskedPaths) == 0)
	check("--mac-address", c.NetworkingConfig != nil && c.NetworkingConfig.EndpointsConfig["bridge"] != nil)
	check("the command", slices.Equal(c.Cmd, []string{"-x", "--rm"}))
	check("no --rm", !h.AutoRemove)
	check("--detach", !c.AttachStdout && !c.AttachStdin)
}
