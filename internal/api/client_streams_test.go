package api_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/abode-run/abode/internal/engine"
)

func testAttach(t *testing.T, tc *caseContext) {
	id := tc.create(t, container.Config{
		Cmd: []string{"sh", "-c", "cat; echo done >&2; exit 5"}, OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	a, err := tc.c.ContainerAttach(t.Context(), id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if mt, _ := a.MediaType(); mt != types.MediaTypeMultiplexedStream {
		t.Errorf("the media type is %q", mt)
	}
	tc.start(t, id)
	input := strings.Repeat("0123456789abcde\n", 16<<10)
	go func() {
		io.WriteString(a.Conn, input)
		a.CloseWrite()
	}()
	stdout, stderr := demux(t, a.Reader)
	if stdout != input || stderr != "done\n" {
		t.Errorf("%d of %d bytes of output came back; error output %q", len(stdout), len(input), stderr)
	}
	if code := tc.exitCode(t, id); code != 5 {
		t.Errorf("exit code %d", code)
	}
}

// testWebSocket attaches as a page in a browser does, whose input is text.
func testWebSocket(t *testing.T, tc *caseContext) {
	id := tc.create(t, container.Config{Cmd: []string{"sh", "-c", "read a; echo got-$a; cat; echo over >&2; sleep 1; exit 6"}, OpenStdin: true, StdinOnce: true, AttachStdin: true})
	dialer := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return tc.c.Dialer()(ctx) }}}
	attach := func(header http.Header) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(t.Context(), "ws://engine/v1.44/containers/"+id+"/attach/ws?stream=1&stdin=1&stdout=1&stderr=1", &websocket.DialOptions{HTTPClient: dialer, HTTPHeader: header})
	}
	if c, resp, err := attach(http.Header{"Origin": {"https://elsewhere.example"}}); err == nil {
		c.CloseNow()
		t.Error("a page of another origin got in")
	} else if resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin: %v", err)
	}
	c, _, err := attach(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	tc.start(t, id)
	for _, m := range []string{"one\n", "two\n"} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	for !strings.Contains(out.String(), "two") {
		kind, p, err := c.Read(t.Context())
		if err != nil {
			t.Fatalf("after %q: %v", out.String(), err)
		}
		if kind != websocket.MessageBinary {
			t.Errorf("output came as %v", kind)
		}
		out.Write(p)
	}
	if out.String() != "got-one\ntwo\n" {
		t.Errorf("output %q", out.String())
	}
	c.Close(websocket.StatusNormalClosure, "") // the end of its input
	if code := tc.exitCode(t, id); code != 6 {
		t.Errorf("exit code %d", code)
	}
}

// testDetach leaves a terminal by keys, comes back, and hangs up.
func testDetach(t *testing.T, tc *caseContext) {
	id := tc.create(t, container.Config{Cmd: []string{"sh", "-c", "while read l; do echo got-$l; stty size; done"}, Tty: true, OpenStdin: true, AttachStdin: true})
	attach := func() client.HijackedResponse {
		t.Helper()
		a, err := tc.c.ContainerAttach(t.Context(), id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, DetachKeys: "ctrl-x,q"})
		if err != nil {
			t.Fatal(err)
		}
		if mt, _ := a.MediaType(); mt != types.MediaTypeRawStream {
			t.Errorf("the media type is %q", mt)
		}
		return a.HijackedResponse
	}
	a := attach()
	tc.start(t, id)
	if _, err := tc.c.ContainerResize(t.Context(), id, client.ContainerResizeOptions{Height: 33, Width: 99}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(a.Conn, "one\n")
	expect(t, a.Reader, "got-one")
	expect(t, a.Reader, "33 99")
	io.WriteString(a.Conn, "\x18q")
	if rest, err := io.ReadAll(a.Reader); err != nil || strings.Contains(string(rest), "got") {
		t.Errorf("after the keys: %q %v", rest, err)
	}
	a.Close()
	if s := tc.inspect(t, id).State; !s.Running {
		t.Fatalf("detaching ended the container: %+v", s)
	}
	b := attach()
	io.WriteString(b.Conn, "two\n")
	expect(t, b.Reader, "got-two")
	b.Close()
	d := attach()
	defer d.Close()
	io.WriteString(d.Conn, "three\n")
	expect(t, d.Reader, "got-three")
}

// expect reads until the output has had a line.
func expect(t *testing.T, r *bufio.Reader, line string) {
	t.Helper()
	for {
		l, err := r.ReadString('\n')
		if strings.TrimRight(l, "\r\n") == line {
			return
		}
		if err != nil {
			t.Fatalf("the output ends before %q: %v", line, err)
		}
	}
}

func testLogs(t *testing.T, tc *caseContext) {
	logs := func(id string, o client.ContainerLogsOptions) io.ReadCloser {
		t.Helper()
		r, err := tc.c.ContainerLogs(t.Context(), id, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	id := tc.run(t, "echo one; echo two; echo three >&2; sleep 1000")
	eventually(t, func() error {
		r := logs(id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
		defer r.Close()
		if o, e := demux(t, r); o != "one\ntwo\n" || e != "three\n" {
			return fmt.Errorf("the logs are %q and %q", o, e)
		}
		return nil
	})
	r := logs(id, client.ContainerLogsOptions{ShowStdout: true, Tail: "1"})
	if o, e := demux(t, r); o != "two\n" || e != "" {
		t.Errorf("the last line of output is %q and %q", o, e)
	}
	r.Close()
	r = logs(id, client.ContainerLogsOptions{ShowStderr: true, Timestamps: true})
	_, e := demux(t, r)
	if stamp, rest, _ := strings.Cut(e, " "); rest != "three\n" || !strings.HasSuffix(stamp, "Z") {
		t.Errorf("with a time: %q", e)
	}
	r.Close()
	followed := logs(id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	defer followed.Close()
	if _, err := tc.c.ContainerKill(t.Context(), id, client.ContainerKillOptions{}); err != nil {
		t.Fatal(err)
	}
	if o, e := demux(t, followed); o != "one\ntwo\n" || e != "three\n" {
		t.Errorf("followed to the end: %q and %q", o, e)
	}
}

// hasWritten waits until all of a container's output is want.
func (tc *caseContext) hasWritten(t *testing.T, id, want string) {
	t.Helper()
	eventually(t, func() error {
		r, err := tc.c.ContainerLogs(t.Context(), id, client.ContainerLogsOptions{ShowStdout: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if o, _ := demux(t, r); o != want {
			return fmt.Errorf("the container has written %q, not %q", o, want)
		}
		return nil
	})
}

func testExec(t *testing.T, tc *caseContext) {
	ctx, c := t.Context(), tc.c
	id := tc.run(t, "sleep 1000")
	exec := func(o client.ExecCreateOptions, input string) (stdout, stderr string, code int) {
		t.Helper()
		e, err := c.ExecCreate(ctx, id, o)
		if err != nil {
			t.Fatal(err)
		}
		size := client.ConsoleSize{}
		if o.TTY {
			size = client.ConsoleSize{Height: 20, Width: 70}
		}
		a, err := c.ExecAttach(ctx, e.ID, client.ExecAttachOptions{TTY: o.TTY, ConsoleSize: size})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if o.AttachStdin {
			io.WriteString(a.Conn, input)
			a.CloseWrite()
		}
		if o.TTY {
			b, err := io.ReadAll(a.Reader)
			if err != nil {
				t.Fatal(err)
			}
			stdout = string(b)
		} else {
			stdout, stderr = demux(t, a.Reader)
		}
		i, err := c.ExecInspect(ctx, e.ID, client.ExecInspectOptions{})
		if err != nil || i.Running || i.ContainerID != id {
			t.Errorf("inspect: %+v %v", i, err)
		}
		return stdout, stderr, i.ExitCode
	}
	o, e, code := exec(client.ExecCreateOptions{Cmd: []string{"sh", "-c", "cat; id -u; echo $X >&2; exit 4"}, User: "user", Env: []string{"X=y"}, AttachStdin: true, AttachStdout: true, AttachStderr: true}, "in ")
	if o != "in 1000\n" || e != "y\n" || code != 4 {
		t.Errorf("got %q, %q and %d", o, e, code)
	}
	if o, _, code := exec(client.ExecCreateOptions{Cmd: []string{"stty", "size"}, TTY: true, AttachStdout: true}, ""); o != "20 70\r\n" || code != 0 {
		t.Errorf("on a terminal: %q and %d", o, code)
	}
	nosuch := []string{"nosuch"}
	if o, e, code := exec(client.ExecCreateOptions{Cmd: nosuch, AttachStdout: true, AttachStderr: true}, ""); o != "" || !strings.HasPrefix(e, "abode: ") || !strings.Contains(e, "executable file not found") || code != 127 {
		t.Errorf("a program that is not there: %q, %q and %d", o, e, code)
	}
	for _, tty := range []bool{false, true} {
		if o, _, code := exec(client.ExecCreateOptions{Cmd: nosuch, TTY: tty, AttachStdout: true}, ""); !strings.HasPrefix(o, "abode: ") || code != 127 {
			t.Errorf("a program that is not there, terminal %t: %q and %d", tty, o, code)
		}
	}
	d, err := c.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: []string{"touch", "/tmp/detached"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExecStart(ctx, d.ID, client.ExecStartOptions{Detach: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := c.ContainerStatPath(ctx, id, client.ContainerStatPathOptions{Path: "/tmp/detached"})
		return err
	})
}

func testStats(t *testing.T, tc *caseContext) {
	id := tc.run(t, "sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	check := func(o client.ContainerStatsOptions, n int, previous bool) {
		t.Helper()
		r, err := tc.c.ContainerStats(ctx, id, o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		dec := json.NewDecoder(r.Body)
		var st container.StatsResponse
		for range n {
			st = container.StatsResponse{}
			if err := dec.Decode(&st); err != nil {
				t.Fatal(err)
			}
		}
		if st.ID != id || st.Read.IsZero() || st.MemoryStats.Usage == 0 || st.PidsStats.Current == 0 || st.CPUStats.SystemUsage == 0 {
			t.Errorf("%+v: %+v", o, st)
		}
		beside := st.MemoryStats.Stats
		if vm := tc.isolation == "vm"; beside[engine.HypervisorMemory] > st.MemoryStats.Usage != vm || beside[engine.HypervisorCPU] > 0 != vm || beside[engine.HypervisorPID] > 0 != vm {
			t.Errorf("%+v: the hypervisor: %v", o, beside)
		}
		if has := !st.PreRead.IsZero() && st.PreCPUStats.SystemUsage > 0; has != previous {
			t.Errorf("%+v: a previous sample: %v", o, has)
		}
	}
	check(client.ContainerStatsOptions{}, 1, false)
	check(client.ContainerStatsOptions{IncludePreviousSample: true}, 1, true)
	check(client.ContainerStatsOptions{Stream: true}, 2, true)
}

func testFiles(t *testing.T, tc *caseContext) {
	ctx, c := t.Context(), tc.c
	id := tc.run(t, "mkdir /tmp/d; echo hello > /tmp/d/f; rm /bin/yes; echo ready; sleep 1000")
	eventually(t, func() error {
		_, err := c.ContainerStatPath(ctx, id, client.ContainerStatPathOptions{Path: "/tmp/d/f"})
		return err
	})
	st, err := c.ContainerStatPath(ctx, id, client.ContainerStatPathOptions{Path: "/tmp/d"})
	if err != nil || st.Stat.Name != "d" || !st.Stat.Mode.IsDir() {
		t.Errorf("stat: %+v %v", st.Stat, err)
	}
	from, err := c.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: "/tmp/d"})
	if err != nil {
		t.Fatal(err)
	}
	if files := untar(t, from.Content); files["d/f"] != "hello\n" {
		t.Errorf("copied: %v", files)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "new", Mode: 0o640, Size: 3}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "abc")
	w.Close()
	if _, err := c.CopyToContainer(ctx, id, client.CopyToContainerOptions{DestinationPath: "/tmp/d", Content: &buf}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		changes, err := c.ContainerDiff(ctx, id, client.ContainerDiffOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]container.ChangeType{}
		for _, ch := range changes.Changes {
			got[ch.Path] = ch.Kind
		}
		for path, kind := range map[string]container.ChangeType{"/tmp": 0, "/tmp/d": 1, "/tmp/d/new": 1, "/bin/yes": 2} {
			if k, ok := got[path]; !ok || k != kind {
				return fmt.Errorf("%s is missing or of another kind in %v", path, changes.Changes)
			}
		}
		return nil
	})
	export, err := c.ContainerExport(ctx, id, client.ContainerExportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	files := untar(t, export)
	if files["tmp/d/new"] != "abc" || files["etc/passwd"] == "" {
		t.Errorf("the export lacks files; it has %d", len(files))
	}
	if _, ok := files["bin/yes"]; ok {
		t.Error("the export has a file that was removed")
	}
}

// untar returns the content of all regular files.
func untar(t *testing.T, r io.ReadCloser) map[string]string {
	t.Helper()
	defer r.Close()
	files := map[string]string{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if isEOF(err) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(strings.TrimPrefix(h.Name, "./"), "/")] = string(b)
	}
}
