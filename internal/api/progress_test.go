package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/jsonstream"

	"github.com/abode-run/abode/internal/image"
)

func TestProgress(t *testing.T) {
	fail := func(report bool, err error) handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			p := newProgress(w)
			defer p.end()
			if report {
				p.image(image.Event{ID: "latest", Status: "Pulling from library/x"})
				p.image(image.Event{ID: "abc", Status: "Downloading", Current: 5, Total: 10})
				p.status("", "Digest: sha256:0")
			}
			return p.finish(err)
		}
	}
	srv, _ := testServer(t,
		route{"GET", "/good", fail(true, nil)},
		route{"GET", "/early", fail(false, fmt.Errorf("no such image: %w", errdefs.ErrNotFound))},
		route{"GET", "/late", fail(true, fmt.Errorf("the registry broke off: %w", errdefs.ErrUnavailable))},
	)
	first := `{"status":"Pulling from library/x","progressDetail":{},"id":"latest"}
{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"abc"}
{"status":"Digest: sha256:0"}
`
	for path, want := range map[string]string{
		"/good":  "200 " + first,
		"/early": `404 {"message":"no such image"}` + "\n",
		"/late":  "200 " + first + `{"errorDetail":{"message":"the registry broke off"},"error":"the registry broke off"}` + "\n",
	} {
		code, header, body := get(t, srv.URL+path)
		if got := fmt.Sprint(code, " ", body); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
		if header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: the content type is %q", path, header.Get("Content-Type"))
		}
	}
}

// TestProgressSlowClient reports much more than a client that reads nothing
// can hold. The reports do not wait, and at last the client gets the newest.
func TestProgressSlowClient(t *testing.T) {
	reported := make(chan struct{})
	path := unixServer(t, route{"GET", "/slow", func(w http.ResponseWriter, r *http.Request) error {
		p := newProgress(w)
		defer p.end()
		for i := range 200_000 {
			p.image(image.Event{ID: fmt.Sprint("layer", i%3), Status: "Downloading", Current: int64(i), Total: 200_000})
		}
		for i := range 2 * maxQueued {
			p.status("", fmt.Sprint(i, strings.Repeat(".", 100)))
		}
		close(reported)
		return p.finish(errors.New("the last word"))
	}})
	_, r := dial(t, path, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	wait(t, reported, "the end of the reports")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var last message
	count := 0
	dec := json.NewDecoder(bufio.NewReader(resp.Body))
	for {
		var m message
		if err := dec.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		last = m
		count++
	}
	if last.ErrorText != "the last word" {
		t.Errorf("the last message is %+v", last)
	}
	if count < maxQueued/2 || count >= 200_000 {
		t.Errorf("the client got %d messages", count)
	}
}

// TestProgressMerges checks that of messages that wait together only the
// newest about one ID and status is kept, and the order of the others.
func TestProgressMerges(t *testing.T) {
	q := &progress{latest: map[string]int{}, started: true}
	q.wake = sync.NewCond(&q.mu)
	for i := range 5 {
		q.report(jsonstream.Message{ID: "a", Status: "Downloading", Progress: &jsonstream.Progress{Current: int64(i)}})
		q.report(jsonstream.Message{ID: "b", Status: "Waiting"})
	}
	q.report(jsonstream.Message{ID: "a", Status: "Extracting"})
	q.report(jsonstream.Message{ID: "a", Status: "Downloading"})
	var got []string
	for _, m := range q.queue {
		got = append(got, m.ID+m.Status)
	}
	if want := "aDownloading bWaiting aExtracting aDownloading"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if q.queue[0].Progress.Current != 4 {
		t.Errorf("the newest was not kept: %+v", q.queue[0].Progress)
	}
}
