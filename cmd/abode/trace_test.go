package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestServerTiming(t *testing.T) {
	got := serverTiming(`network;dur=1.25, create;dur=5.00, odd, cache;desc="x", late;dur=soon`)
	want := []tracedStep{{"network", 1250 * time.Microsecond}, {"create", 5 * time.Millisecond}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(tracedStep{})); d != "" {
		t.Error(d)
	}
}

// Requests appear in their order, each with its steps; waiting is the rest.
func TestTracer(t *testing.T) {
	tr := &tracer{}
	for _, path := range []string{"/v1.50/containers/create", "/v1.50/containers/id/wait", "/v1.50/containers/id/start"} {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		if err := tr.request(r); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "wait") {
			continue
		}
		tr.response(&http.Response{Request: r, Header: http.Header{"Server-Timing": {"image;dur=0.1"}}})
	}
	var out bytes.Buffer
	tr.print(&out)
	var names []string
	for line := range strings.Lines(out.String()) {
		f := strings.Fields(line)
		names = append(names, strings.Join(f[min(2, len(f)):], " "))
	}
	want := []string{"took ms", "command line", "create", "image", "start", "image", "run and end", "total"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("%s\n%s", d, out.String())
	}
}
