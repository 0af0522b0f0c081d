package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestUploadStandsStill sends a part of a body and then nothing.
func TestUploadStandsStill(t *testing.T) {
	restore := idleTime
	idleTime = 50 * time.Millisecond
	t.Cleanup(func() { idleTime = restore }) // before the server ends
	ended := make(chan error, 1)
	path := unixServer(t, route{"PUT", "/up", func(w http.ResponseWriter, r *http.Request) error {
		u := newUpload(w, r)
		defer u.done()
		_, err := io.Copy(io.Discard, u)
		ended <- err
		return err
	}})
	_, r := dial(t, path, "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart")
	if err := wait(t, ended, "giving up"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the upload ended with %v", err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("got %s", resp.Status)
	}
}

// TestRefusedUpload is refused before anything of its body was read, of which
// not all arrives.
func TestRefusedUpload(t *testing.T) {
	path := unixServer(t, route{"PUT", "/up", func(http.ResponseWriter, *http.Request) error { return notFound("nothing here") }})
	_, r := dial(t, path, "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s", resp.Status)
	}
}

// TestUploadThenWork reads a body to its end and then works for longer than a
// body may stand still: that must not look like a hang-up.
func TestUploadThenWork(t *testing.T) {
	restore := idleTime
	idleTime = 50 * time.Millisecond
	t.Cleanup(func() { idleTime = restore })
	srv, _ := testServer(t, route{"POST", "/up", func(w http.ResponseWriter, r *http.Request) error {
		var v struct{ A string }
		if r.Header.Get("Content-Type") == "application/json" {
			if err := readJSON(w, r, &v); err != nil {
				return err
			}
		} else {
			u := newUpload(w, r)
			defer u.done()
			if _, err := io.Copy(io.Discard, u); err != nil {
				return err
			}
		}
		select {
		case <-r.Context().Done():
			return errors.New("the end of the body was taken for a hang-up")
		case <-time.After(3 * idleTime):
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}})
	for _, contentType := range []string{"application/json", "application/x-tar"} {
		resp, err := http.Post(srv.URL+"/up", contentType, strings.NewReader(`{"A":"`+strings.Repeat("b", 100<<10)+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("%s: %s %s", contentType, resp.Status, b)
		}
	}
}

// TestDownloadStandsStill is a client that reads nothing.
func TestDownloadStandsStill(t *testing.T) {
	restore := idleTime
	idleTime = 50 * time.Millisecond
	t.Cleanup(func() { idleTime = restore })
	ended := make(chan error, 1)
	path := unixServer(t, route{"GET", "/down", func(w http.ResponseWriter, r *http.Request) error {
		err := copyBody(w, r, io.NopCloser(io.LimitReader(endless{}, 1<<40)))
		ended <- err
		return err
	}})
	_, r := dial(t, path, "GET /down HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := wait(t, ended, "giving up"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the download ended with %v", err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("what was given up looks whole")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte{'x'}, len(p))), nil
}
