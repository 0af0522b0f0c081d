package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/agent"
)

// archive fetches a path as tar.
func (h *hostAgent) archive(id, p string) (map[string]*tar.Header, map[string]string, []string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := h.client.Stream(ctx, agent.MethodArchive, agent.PathRequest{ID: id, Path: p}, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	defer conn.Close()
	headers, contents, names := map[string]*tar.Header{}, map[string]string{}, []string{}
	for tr := tar.NewReader(conn); ; {
		hd, err := tr.Next()
		if err == io.EOF {
			return headers, contents, names, nil
		}
		if err != nil {
			return nil, nil, nil, err
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			return nil, nil, nil, err
		}
		headers[hd.Name], contents[hd.Name] = hd, string(b)
		names = append(names, hd.Name)
	}
}

func (h *hostAgent) extract(req agent.ExtractRequest, entries ...*tar.Header) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		body := e.Uname // the tests keep a file's content here
		e.Uname, e.Size = "", int64(len(body))
		if e.Typeflag != tar.TypeReg {
			e.Size = 0
		}
		if err := tw.WriteHeader(e); err != nil {
			return err
		}
		if e.Size > 0 {
			tw.Write([]byte(body))
		}
	}
	tw.Close()
	conn, err := h.client.Stream(ctx, agent.MethodExtract, req, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := b.WriteTo(conn); err != nil {
		return err
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	var answer agent.Response
	if err := agent.ReadFrame(conn, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}

func TestFiles(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		for _, state := range []string{"created", "running", "exited"} {
			t.Run(state, func(t *testing.T) {
				req := adapt(h.container("echo up; sleep 1000"))
				h.must(agent.MethodCreate, req, nil)
				if state != "created" {
					a := h.attach(req.ID, "")
					h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
					a.until(t, "up")
				}
				if state == "exited" {
					h.must(agent.MethodKill, agent.KillRequest{ID: req.ID, Signal: 9}, nil)
					h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, nil)
				}
				checkFiles(t, h, req.ID)
				h.must(agent.MethodDelete, agent.IDRequest{ID: req.ID}, nil)
			})
		}
	})
}

func checkFiles(t *testing.T, h *hostAgent, id string) {
	var st agent.FileStat
	h.must(agent.MethodStat, agent.PathRequest{ID: id, Path: "/data/sub/link"}, &st)
	if st.Name != "link" || fs.FileMode(st.Mode)&fs.ModeSymlink == 0 || st.LinkTarget != "/data/seed" {
		t.Errorf("stat of a link: %+v", st)
	}
	h.must(agent.MethodStat, agent.PathRequest{ID: id, Path: "/data/sub/link", Follow: true}, &st)
	if fs.FileMode(st.Mode) != 0o644 || st.Size != 5 {
		t.Errorf("stat through a link: %+v", st)
	}
	if err := h.call(agent.MethodStat, agent.PathRequest{ID: id, Path: "/no/such"}, nil); !errors.Is(err, &agent.Error{Class: agent.ClassNoContainer}) {
		t.Errorf("stat of nothing: %v", err)
	}
	headers, contents, names, err := h.archive(id, "/data")
	if err != nil || !slices.Equal(names, []string{"data/", "data/seed", "data/sub/", "data/sub/link"}) {
		t.Fatalf("%v %v", names, err)
	}
	if hd := headers["data/seed"]; hd.Uid != 1000 || hd.Gid != 1000 || contents["data/seed"] != "seed\n" || headers["data/"].Uid != 0 {
		t.Errorf("%+v", hd)
	}
	if _, _, names, err = h.archive(id, "/data/."); err != nil || !slices.Equal(names, []string{"./", "./seed", "./sub/", "./sub/link"}) {
		t.Errorf("%v %v", names, err)
	}
	if _, _, names, err = h.archive(id, "/jump/plain"); err != nil || !slices.Equal(names, []string{"plain"}) {
		t.Errorf("%v %v", names, err)
	}
	if _, _, names, err = h.archive(id, "/"); err != nil || !slices.Contains(names, "bin/busybox") || !slices.Contains(names, "proc/") || slices.Contains(names, "proc/1/") || slices.Contains(names, "dev/null") {
		t.Errorf("export: %d names, %v", len(names), err)
	}

	into := agent.ExtractRequest{ID: id, Path: "/data"}
	err = h.extract(into,
		&tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o750, Uid: 5},
		&tar.Header{Name: "d/f", Typeflag: tar.TypeReg, Mode: 0o4711, Uid: 5, Uname: "body", ModTime: time.Unix(1e9, 0)},
		&tar.Header{Name: "d/hard", Typeflag: tar.TypeLink, Linkname: "d/f"},
		&tar.Header{Name: "../../up", Typeflag: tar.TypeReg, Mode: 0o600, Uname: "x"},
		&tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		&tar.Header{Name: "out/through", Typeflag: tar.TypeReg, Mode: 0o644, Uname: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if headers, contents, names, err = h.archive(id, "/data/d"); err != nil || len(names) != 3 || headers["d/f"].Uid != 0 || headers["d/f"].Mode != 0o4711 ||
		contents["d/f"] != "body" || headers["d/hard"].Typeflag != tar.TypeLink || headers["d/f"].ModTime.Unix() != 1e9 || headers["d/"].Mode != 0o750 {
		t.Errorf("%v %v %v", names, headers, err)
	}
	for p, ok := range map[string]bool{"/data/up": true, "/up": false, "/etc/through": true} {
		if err := h.call(agent.MethodStat, agent.PathRequest{ID: id, Path: p}, nil); (err == nil) != ok {
			t.Errorf("stat %s: %v", p, err)
		}
	}
	into.CopyUIDGID = true
	h.extract(into, &tar.Header{Name: "owned", Typeflag: tar.TypeReg, Mode: 0o600, Uid: 77, Gid: 78})
	if headers, _, _, _ = h.archive(id, "/data/owned"); headers["owned"] == nil || headers["owned"].Uid != 77 || headers["owned"].Gid != 78 {
		t.Errorf("%+v", headers["owned"])
	}
	into.NoOverwriteDirNonDir = true
	if err := h.extract(into, &tar.Header{Name: "sub", Typeflag: tar.TypeReg, Mode: 0o600}); err == nil || !strings.Contains(err.Error(), "cannot overwrite directory") {
		t.Errorf("got %v", err)
	}
	if err := h.extract(agent.ExtractRequest{ID: id, Path: "/etc/plain"}); !errors.Is(err, &agent.Error{Class: agent.ClassInvalid}) {
		t.Errorf("got %v", err)
	}
}

func TestDiff(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		req := adapt(h.container("echo x >> /etc/plain; rm /data/seed; mkdir /new; touch /new/f; rm -r /data/sub; mkdir /data/sub; touch /data/sub/n; mv /home/app /home/other"))
		req.Files = []agent.File{{Path: "/etc/hosts", Content: []byte("x")}, {Path: "/opt/deep/file", Content: []byte("x")}}
		// Twice the same image below: a view of several layers is the other way.
		req.Rootfs.Layers = append(req.Rootfs.Layers, agent.Layer{Path: secondLayer(t)})
		h.must(agent.MethodCreate, req, nil)
		h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
		h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, nil)
		var d agent.DiffResponse
		h.must(agent.MethodDiff, agent.IDRequest{ID: req.ID}, &d)
		var got []string
		for _, c := range d.Changes {
			got = append(got, string("CAD"[c.Kind])+c.Path)
		}
		want := "C/data D/data/seed C/data/sub D/data/sub/link A/data/sub/n C/etc C/etc/plain C/home D/home/app A/home/other A/new A/new/f"
		if strings.Join(got, " ") != want {
			t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
		}
		h.must(agent.MethodDelete, agent.IDRequest{ID: req.ID}, nil)
		// The next start of the same writable layer knows what the first has made.
		req.Spec.Process.Args = []string{"/bin/true"}
		h.must(agent.MethodCreate, req, nil)
		h.must(agent.MethodDiff, agent.IDRequest{ID: req.ID}, &d)
		if len(d.Changes) != len(got) {
			t.Errorf("after another start: %+v", d.Changes)
		}
	})
}
