package docker

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// runCases are the flags whose effect is on more than what runs: on the
// command, the host, other containers, or the container's life.
var runCases = []feature{
	{name: "--help", note: "a page of the command's", prove: func(t *testing.T, w wall) {
		if out := w.run(t, "--help"); !strings.Contains(out, "docker run [OPTIONS] IMAGE") {
			t.Errorf("it prints %q", out)
		}
	}, once: true},
	{name: "--attach", prove: func(t *testing.T, w wall) {
		r := call(t, "", "run", "--rm", "--isolation", string(w), "--attach", "stderr", "busybox", "sh", "-c", "echo out; echo err >&2")
		equal(t, "the streams", r, result{stderr: "err\n"})
	}},
	{name: "--interactive", prove: func(t *testing.T, w wall) {
		r := call(t, "sent\n", "run", "--rm", "--isolation", string(w), "--interactive", "busybox", "cat")
		equal(t, "the streams", r, result{stdout: "sent\n"})
		r = call(t, "sent\n", "run", "--rm", "--isolation", string(w), "busybox", "cat")
		equal(t, "the streams without the flag", r, result{})
	}},
	{name: "--tty", prove: func(t *testing.T, w wall) {
		equal(t, "the terminal", w.run(t, "--rm", "--tty", "busybox", "sh", "-c", "tty; echo err >&2"), "/dev/pts/0\r\nerr\r")
	}},
	{name: "--cidfile", prove: func(t *testing.T, w wall) {
		file, name := filepath.Join(t.TempDir(), "id"), w.name(t)
		w.run(t, "--cidfile", file, "--name", name, "busybox", "true")
		id, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "the file", string(id), cli(t, "inspect", "--format", "{{.Id}}", name))
	}},
	{name: "--detach", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		id := w.run(t, "--detach", "--name", name, "busybox", "sleep", "1000")
		equal(t, "what runs", cli(t, "inspect", "--format", "{{.Id}} {{.State.Status}}", name), id+" running")
	}},
	{name: "--detach-keys", prove: detachKeys},
	{name: "--entrypoint", prove: func(t *testing.T, w wall) {
		equal(t, "the output", w.run(t, "--rm", "--entrypoint", "echo", "busybox", "given"), "given")
	}},
	{name: "--isolation", note: "chooses the wall", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		release := w.run(t, "--name", name, "busybox", "uname", "-r")
		equal(t, "inspect", cli(t, "inspect", "--format", "{{.HostConfig.Isolation}}", name), string(w))
		host, err := os.ReadFile("/proc/sys/kernel/osrelease")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "whether it is the host's kernel", release == strings.TrimSpace(string(host)), w == "container")
	}},
	{name: "--name", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		id := w.run(t, "--detach", "--name", name, "busybox", "true")
		equal(t, "inspect", cli(t, "inspect", "--format", "{{.Name}} {{.Id}}", name), "/"+name+" "+id)
	}},
	{name: "--platform", note: "of the machine", prove: func(t *testing.T, w wall) {
		equal(t, "the output", w.run(t, "--rm", "--platform", "linux", "busybox", "echo", "runs"), "runs")
		w.refuses(t, "cannot run image busybox for linux/mips: this machine runs linux/amd64 alone, and the local image is for that; leave --platform out", "--platform", "linux/mips")
	}},
	{name: "--pull", prove: func(t *testing.T, w wall) {
		ref := pushed(t, "pull-"+string(w))
		r := call(t, "", "run", "--rm", "--pull", "never", ref, "true")
		equal(t, "exit code of an image that is not here", r.code, 125)
		for _, when := range []string{"missing", "always"} {
			r := call(t, "", "run", "--rm", "--isolation", string(w), "--pull", when, ref, "echo", "runs")
			if r.stdout != "runs\n" || !strings.Contains(r.stderr, "Status: ") {
				t.Errorf("--pull %s: %+v", when, r)
			}
		}
	}},
	{name: "--quiet", prove: func(t *testing.T, w wall) {
		ref := pushed(t, "quiet-"+string(w))
		r := call(t, "", "run", "--rm", "--isolation", string(w), "--quiet", ref, "echo", "runs")
		equal(t, "the streams", r, result{stdout: "runs\n"})
	}},
	{name: "--rm", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		w.run(t, "--rm", "--name", name, "--volume", "/made", "busybox", "true")
		eventually(t, "its removal", func() bool { return call(t, "", "inspect", name).code == 1 })
	}},
	{name: "--restart on-failure", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		w.run(t, "--detach", "--restart", "on-failure:2", "--name", name, "busybox", "false")
		eventually(t, "the second restart and its end", func() bool {
			return cli(t, "inspect", "--format", "{{.RestartCount}} {{.State.Status}}", name) == "2 exited"
		})
	}},
	{name: "--sig-proxy", prove: signals},
	{name: "--stop-signal", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		w.run(t, "--detach", "--stop-signal", "USR1", "--name", name, "busybox", "sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done")
		eventually(t, "the trap", func() bool { return cli(t, "logs", name) == "ready" })
		cli(t, "stop", name)
		equal(t, "the exit code", cli(t, "inspect", "--format", "{{.State.ExitCode}}", name), "9")
	}},
	{name: "--log-driver none", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		equal(t, "the output", w.run(t, "--log-driver", "none", "--name", name, "busybox", "echo", "seen"), "seen")
		r := call(t, "", "logs", name)
		equal(t, "logs", r.code == 1 && strings.Contains(r.stderr, "configured logging driver does not support reading"), true)
	}},
	{name: "--log-opt", note: "`max-size`, `max-file`, `compress`, `mode`, `max-buffer-size`", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		w.run(t, "--log-opt", "max-size=200k", "--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=1m", "--name", name, "busybox", "seq", "1", "200000")
		kept := cli(t, "logs", name)
		if n := strings.Count(kept, "\n"); n < 10 || n > 30000 || !strings.HasSuffix(kept, "\n200000") {
			t.Errorf("of 200000 lines %d are kept, the end being %q", n, kept[max(0, len(kept)-20):])
		}
	}},
	{name: "--log-opt labels", note: "`labels-regex`, `env`, `env-regex` and `tag` too", prove: func(t *testing.T, w wall) {
		name := w.name(t)
		w.run(t, "--label", "a=b", "--env", "C=d", "--log-opt", "labels=a", "--log-opt", "env=C", "--log-opt", "tag=mine", "--name", name, "busybox", "echo", "seen")
		equal(t, "logs", cli(t, "logs", "--details", name), "C=d,a=b,tag=mine seen")
	}},
	{name: "--publish", prove: func(t *testing.T, w wall) {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		w.serving(t, address, "--publish", address+":8080")
	}},
	{name: "--publish-all", prove: func(t *testing.T, w wall) {
		w.serving(t, "", "--publish-all", "--expose", "8080")
	}},
	{name: "--volume SOCKET:PATH", refused: map[wall]string{"vm": noSockets}, prove: socket},
	{name: "--volumes-from", prove: func(t *testing.T, w wall) {
		from := w.name(t)
		cli(t, "create", "--isolation", string(w), "--volume", shared+":/of/another:ro", "--name", from, "busybox")
		equal(t, "the file", w.run(t, "--rm", "--volumes-from", from, "busybox", "cat", "/of/another/file"), "from the host")
	}},
}

// pushed puts busybox into the registry, and forgets the name here.
func pushed(t *testing.T, name string) string {
	ref := hub + "/" + name
	cli(t, "tag", "busybox", ref)
	cli(t, "push", "--quiet", ref)
	cli(t, "rmi", ref)
	t.Cleanup(func() { call(t, "", "rmi", "--force", ref) })
	return ref
}

// serving runs a container with flags that publish its port 8080, and asks it.
func (w wall) serving(t *testing.T, address string, flags ...string) {
	name := w.name(t)
	w.run(t, append(append([]string{"--detach", "--name", name}, flags...), "busybox", "nc", "-ll", "-p", "8080", "-e", "echo", "served")...)
	if address == "" {
		address, _, _ = strings.Cut(cli(t, "port", name, "8080"), "\n")
		address = strings.Replace(address, "0.0.0.0", "127.0.0.1", 1)
	}
	eventually(t, "an answer from "+address, func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		got, _ := io.ReadAll(conn)
		return string(got) == "served\n"
	})
}

const noSockets = `cannot bind a socket of the host on /dev/log with isolation "vm": who listens is reached on the host's kernel alone; use --isolation container, or an address of the network`

// socket gives a container a socket of the host to write to.
func socket(t *testing.T, w wall) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o666); err != nil { // the container's users are others
		t.Fatal(err)
	}
	if w == "vm" {
		w.refuses(t, noSockets, "--volume", path+":/dev/log")
		return
	}
	w.run(t, "--rm", "--volume", path+":/dev/log", "busybox", "logger", "told to the host")
	deadline, _ := soon(t).Deadline()
	if err := l.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1024)
	if n, err := l.Read(p); err != nil || !strings.Contains(string(p[:n]), "told to the host") {
		t.Errorf("it has said %q (%v)", p[:n], err)
	}
}

// detachKeys leaves a container by keys of the user's choice.
func detachKeys(t *testing.T, w wall) {
	name := w.name(t)
	cmd := exec.Command(docker, "run", "--isolation", string(w), "--name", name, "-it", "--detach-keys", "ctrl-x,x", "busybox", "sh", "-c", "echo ready; cat")
	cmd.Env = engine.Environ()
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	out := make(chan string, 100)
	go func() {
		defer close(out)
		for p := make([]byte, 4096); ; {
			n, err := terminal.Read(p)
			if err != nil {
				return
			}
			out <- string(p[:n])
		}
	}()
	seen := ""
	for part := range out {
		if seen += part; strings.Contains(seen, "ready") {
			break
		}
	}
	io.WriteString(terminal, "\x18x")
	for part := range out {
		seen += part
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("leaving: %v\n%s", err, seen)
	}
	equal(t, "the container after it", cli(t, "inspect", "--format", "{{.State.Status}}", name), "running")
}

// signals sends one to the command, with and without it being passed on.
func signals(t *testing.T, w wall) {
	for proxy, want := range map[string]string{"true": "exited 8", "false": "running 0"} {
		name := w.name(t)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, docker, "run", "--isolation", string(w), "--name", name, "--sig-proxy="+proxy, "busybox",
			"sh", "-c", "trap 'exit 8' TERM; echo ready; while :; do sleep 0.1; done")
		cmd.Env = engine.Environ()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("ready\n"))
		if _, err := io.ReadFull(out, got); err != nil || !bytes.Equal(got, []byte("ready\n")) {
			t.Errorf("the output is %q (%v)", got, err)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if proxy == "false" {
			cli(t, "exec", name, "true") // the signal would have come before this
			cancel()
		}
		_ = cmd.Wait()
		equal(t, "after --sig-proxy="+proxy, cli(t, "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name), want)
	}
}
