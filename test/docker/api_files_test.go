package docker

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
)

func fileEndpoints() []feature {
	archives := together(archives)
	return []feature{
		{name: "GET /containers/{id}/changes", prove: func(t *testing.T, w wall) {
			id := w.script(t, "touch /tmp/added; rm /bin/yes")
			ended(t, id)
			var changes []container.FilesystemChange
			does(t, 200, &changes, "GET", "/containers/"+id+"/changes", nil)
			for _, want := range []container.FilesystemChange{{Kind: 0, Path: "/tmp"}, {Kind: 1, Path: "/tmp/added"}, {Kind: 2, Path: "/bin/yes"}} {
				if !slices.Contains(changes, want) {
					t.Errorf("%+v is not among %+v", want, changes)
				}
			}
			noContainer(t, "GET", "/containers/{id}/changes", nil)
		}},
		{name: "GET /containers/{id}/export", prove: func(t *testing.T, w wall) {
			id := w.script(t, "echo exported >/tmp/file")
			ended(t, id)
			a := does(t, 200, nil, "GET", "/containers/"+id+"/export", nil)
			equal(t, "the file", untar(t, a.body)["tmp/file"], "exported\n")
			noContainer(t, "GET", "/containers/{id}/export", nil)
		}},
		{name: "PUT /containers/{id}/archive", prove: archives},
		{name: "GET /containers/{id}/archive", prove: archives},
		{name: "HEAD /containers/{id}/archive", prove: archives},
	}
}

// files makes a tar of files by name.
func files(t testing.TB, content map[string]string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, c := range content {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o640, Size: int64(len(c)), ModTime: time.Unix(1e9, 0)}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, c)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func untar(t testing.TB, archive string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = string(b)
	}
}

func archives(t *testing.T, w wall) {
	id := w.script(t, "sleep 1000")
	path := "/containers/" + id + "/archive"
	does(t, 200, nil, "PUT", path+query("path", "/tmp"), files(t, map[string]string{"put": "in it\n"}))
	equal(t, "the file inside", cli(t, "exec", id, "sh", "-c", "cat /tmp/put; stat -c %a /tmp/put"), "in it\n640")
	a := does(t, 200, nil, "GET", path+query("path", "/tmp/put"), nil)
	equal(t, "the media type", a.header.Get("Content-Type"), "application/x-tar")
	equal(t, "the file that comes back", untar(t, a.body)["put"], "in it\n")
	head := does(t, 200, nil, "HEAD", path+query("path", "/tmp/put"), nil)
	var stat container.PathStat
	for _, h := range []string{head.header.Get("X-Docker-Container-Path-Stat"), a.header.Get("X-Docker-Container-Path-Stat")} {
		b, err := base64.StdEncoding.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		read(t, string(b), &stat)
		if stat.Name != "put" || stat.Size != 6 || stat.Mode != 0o640 || stat.Mtime.Unix() != 1e9 {
			t.Errorf("the header is %s", b)
		}
	}
	for _, method := range []string{"GET", "PUT"} {
		var body any
		if method == "PUT" {
			body = files(t, nil)
		}
		says(t, 404, "Could not find the file /nosuch in container "+id, method, path+query("path", "/nosuch"), body)
		says(t, 400, "bad parameter: 'path' cannot be empty", method, path, nil)
		noContainer(t, method, "/containers/{id}/archive"+query("path", "/"), body)
	}
	equal(t, "status of a file that is not there", ask(t, "HEAD", path+query("path", "/nosuch"), nil).status, 404)
	equal(t, "status of what is no archive", ask(t, "PUT", path+query("path", "/tmp"), strings.NewReader("rubbish")).status, 400)
}
