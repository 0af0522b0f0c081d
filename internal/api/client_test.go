package api_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/abode-run/abode/test/harness"
)

// patience bounds each case; a guest without hardware acceleration is slow.
const patience = 3 * time.Minute

// TestClient drives the daemon through Docker's Go client, behind every wall
// that there is on this machine.
func TestClient(t *testing.T) {
	if _, err := harness.Bin(); err != nil {
		t.Skip(err)
	}
	if os.Getuid() != 0 {
		t.Skip("an engine needs root")
	}
	e := harness.Start(t)
	c, err := client.New(client.WithHost(e.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	image := importBusybox(t, c)
	// Without a guest kernel the host's own may do; the walls tell.
	if deb, err := harness.Asset("kernel/linux-image-*.deb"); err == nil {
		e.Abode(t, "kernel", "import", deb)
	}
	t.Run("system", func(t *testing.T) { testSystem(t, c) })
	t.Run("images", func(t *testing.T) { testImages(t, c, image) })
	t.Run("volumes", func(t *testing.T) { testVolumes(t, c) })
	t.Run("networks", func(t *testing.T) { testNetworks(t, c) })
	for _, isolation := range []container.Isolation{"container", "vm"} {
		t.Run(string(isolation), func(t *testing.T) {
			tc := &caseContext{c: c, image: image, isolation: isolation}
			if err := tc.probe(t); err != nil {
				t.Skipf("nothing runs behind this wall here: %v", err)
			}
			for name, f := range map[string]func(*testing.T, *caseContext){
				"life": testLife, "attach": testAttach, "detach": testDetach, "websocket": testWebSocket, "wait": testWait, "logs": testLogs,
				"exec": testExec, "files": testFiles, "stats": testStats, "metrics": testMetrics, "events": testEvents, "errors": testErrors,
			} {
				t.Run(name, func(t *testing.T) { f(t, tc) })
			}
		})
	}
}

// importBusybox makes an image of the host's static busybox.
func importBusybox(t *testing.T, c *client.Client) string {
	t.Helper()
	bin, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skipf("the tests need a static busybox: %v", err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h *tar.Header, content []byte) {
		t.Helper()
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin/", "etc/", "tmp/", "root/"} {
		add(&tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755}, nil)
	}
	add(&tar.Header{Name: "bin/busybox", Mode: 0o755}, bin)
	for _, n := range []string{"sh", "cat", "echo", "sleep", "id", "touch", "rm", "ls", "head", "tail", "yes", "stty", "true", "false", "trap", "kill", "mkdir", "tr", "wc"} {
		add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + n, Linkname: "busybox", Mode: 0o777}, nil)
	}
	add(&tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := c.ImageImport(t.Context(), client.ImageImportSource{Source: &buf, SourceName: "-"}, "busybox:test",
		client.ImageImportOptions{Changes: []string{"ENV A=b", `CMD ["sh"]`, "LABEL origin=test"}, Message: "from the host"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if out, err := io.ReadAll(r); err != nil || !strings.Contains(string(out), "sha256:") {
		t.Fatalf("the import answered %q (%v)", out, err)
	}
	return "busybox:test"
}

// caseContext is what the cases of one isolation share.
type caseContext struct {
	c         *client.Client
	image     string
	isolation container.Isolation
}

// probe tells why nothing runs behind this wall on this machine.
func (tc *caseContext) probe(t *testing.T) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := tc.c.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: tc.image, Cmd: []string{"true"}},
		HostConfig: &container.HostConfig{Isolation: tc.isolation},
	})
	if err != nil {
		return err
	}
	_, err = tc.c.ContainerStart(ctx, r.ID, client.ContainerStartOptions{})
	if _, rerr := tc.c.ContainerRemove(ctx, r.ID, client.ContainerRemoveOptions{Force: true}); rerr != nil {
		t.Errorf("removing: %v", rerr)
	}
	if tc.isolation == "vm" && errdefs.IsUnavailable(err) {
		return err
	}
	if err != nil {
		t.Fatal(err)
	}
	return nil
}

// create makes a container that goes with the test.
func (tc *caseContext) create(t *testing.T, cfg container.Config, edit ...func(*container.HostConfig)) string {
	t.Helper()
	cfg.Image = tc.image
	host := &container.HostConfig{Isolation: tc.isolation}
	for _, f := range edit {
		f(host)
	}
	r, err := tc.c.ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: &cfg, HostConfig: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := tc.c.ContainerRemove(context.Background(), r.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !errdefs.IsNotFound(err) {
			t.Errorf("removing: %v", err)
		}
	})
	return r.ID
}

func (tc *caseContext) start(t *testing.T, id string) {
	t.Helper()
	if _, err := tc.c.ContainerStart(t.Context(), id, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
}

// run creates and starts a shell script.
func (tc *caseContext) run(t *testing.T, script string) string {
	t.Helper()
	id := tc.create(t, container.Config{Cmd: []string{"sh", "-c", script}})
	tc.start(t, id)
	return id
}

// exitCode waits for a container's end.
func (tc *caseContext) exitCode(t *testing.T, id string) int64 {
	t.Helper()
	w := tc.c.ContainerWait(t.Context(), id, client.ContainerWaitOptions{})
	select {
	case r := <-w.Result:
		return r.StatusCode
	case err := <-w.Error:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("the container does not end")
	}
	panic("unreachable")
}

// eventually repeats f until it has no more to object to.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// demux splits a framed stream until its end.
func demux(t *testing.T, r io.Reader) (stdout, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	if _, err := stdcopy.StdCopy(&o, &e, r); err != nil {
		t.Fatal(err)
	}
	return o.String(), e.String()
}

func wantClass(t *testing.T, what string, err error, is func(error) bool) {
	t.Helper()
	if err == nil || !is(err) {
		t.Errorf("%s: the error is of another class: %v", what, err)
	}
	if err != nil && strings.HasSuffix(strings.TrimSpace(err.Error()), ":") {
		t.Errorf("%s: the message says nothing: %v", what, err)
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
