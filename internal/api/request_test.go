package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

func TestReadJSON(t *testing.T) {
	big := `{"A":"` + strings.Repeat("x", maxJSON) + `"}`
	for _, c := range []struct {
		name, contentType, body string
		length                  int64 // -1: unknown, as of a chunked body; 0: that of body
		want                    error
	}{
		{"plain", "application/json", `{"A":"b"}`, 0, nil},
		{"with charset", "application/json; charset=utf-8", `{"A":"b"}`, 0, nil},
		{"chunked", "application/json", `{"A":"b"} `, -1, nil},
		{"unknown fields", "application/json", `{"A":"b","Z":[1]}`, 0, nil},
		{"no body", "text/plain", ``, 0, nil},
		{"wrong type", "text/plain", `{"A":"b"}`, 0, errdefs.ErrInvalidArgument},
		{"no type", "", `{"A":"b"}`, 0, errdefs.ErrInvalidArgument},
		{"two documents", "application/json", `{"A":"b"}{}`, 0, errdefs.ErrInvalidArgument},
		{"rubbish after", "application/json", `{"A":"b"}x`, 0, errdefs.ErrInvalidArgument},
		{"cut short", "application/json", `{"A":`, 0, errdefs.ErrInvalidArgument},
		{"wrong kind", "application/json", `{"A":1}`, 0, errdefs.ErrInvalidArgument},
		{"empty chunked", "application/json", ``, -1, errdefs.ErrInvalidArgument},
		{"too large", "application/json", big, 0, new(http.MaxBytesError)},
		{"too large, chunked", "application/json", big, -1, new(http.MaxBytesError)},
	} {
		r := httptest.NewRequest("POST", "/", io.NopCloser(strings.NewReader(c.body)))
		r.ContentLength = int64(len(c.body))
		if c.length != 0 {
			r.ContentLength = c.length
		}
		r.Header.Set("Content-Type", c.contentType)
		var v struct{ A string }
		err := readJSON(httptest.NewRecorder(), r, &v)
		var large *http.MaxBytesError
		switch {
		case c.want == nil && err != nil, c.want != nil && err == nil:
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		case errors.As(c.want, &large):
			if !errors.As(err, &large) {
				t.Errorf("%s: got %v, want %v", c.name, err, c.want)
			}
		case c.want != nil && !errors.Is(err, c.want):
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		case c.want == nil && c.body != "" && v.A != "b":
			t.Errorf("%s: A is %q", c.name, v.A)
		}
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]time.Time{
		"":                               {},
		"0":                              {},
		"1700000000":                     time.Unix(1700000000, 0),
		"1700000000.5":                   time.Unix(1700000000, 500000000),
		"1700000000.000000001":           time.Unix(1700000000, 1),
		"1700000000.0000000019":          time.Unix(1700000000, 1),
		"2023-11-14T22:13:20Z":           time.Unix(1700000000, 0),
		"2023-11-14T23:13:20.25+01:00":   time.Unix(1700000000, 250000000),
		"-1.5":                           time.Unix(-1, -500000000),
		"2023-11-14T22:13:20.000000001Z": time.Unix(1700000000, 1),
	} {
		got, err := parseTime(s)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v (%v), want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"x", "1.x", "1.-5", "99999999999999999999", "9223372036854775807", "1e3", " 1"} {
		if got, err := parseTime(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

// TestOldCreate reads what clients of older versions send.
func TestOldCreate(t *testing.T) {
	read := func(body string) createRequest {
		t.Helper()
		var req createRequest
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if err := readJSON(httptest.NewRecorder(), r, &req); err != nil {
			t.Fatal(err)
		}
		return req
	}
	// The form that docker 20.10 sends, shortened.
	body := `{"Hostname":"","AttachStdout":true,"Tty":false,"Env":null,"Cmd":["true"],"Image":"x","Volumes":{},"Entrypoint":null,
		"OnBuild":null,"Labels":{},"MacAddress":"02:42:ac:11:00:09","ExposedPorts":{"80/tcp":{}},
		"HostConfig":{"Binds":null,"NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},
		"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"ConsoleSize":[0,0],"Dns":[],"Isolation":"vm","KernelMemory":0,
		"Annotations":{"a":"b"},"Capabilities":null,"OomKillDisable":false},"NetworkingConfig":{"EndpointsConfig":{}}}`
	req := read(body)
	if err := req.upgrade(apiVersion{1, 41}); err != nil {
		t.Fatal(err)
	}
	if got := req.NetworkingConfig.EndpointsConfig["bridge"]; got == nil || got.MacAddress.String() != "02:42:ac:11:00:09" {
		t.Errorf("the MAC address of the container did not become that of its network: %+v", got)
	}
	if req.HostConfig.Isolation != "vm" {
		t.Errorf("the isolation is %q", req.HostConfig.Isolation)
	}
	if b := req.HostConfig.PortBindings[network.MustParsePort("80/tcp")]; len(b) != 1 || b[0].HostPort != "8080" {
		t.Errorf("the published ports are %v", req.HostConfig.PortBindings)
	}
	if req.HostConfig.Annotations != nil {
		t.Error("annotations, which are of API 1.43, were taken at 1.41")
	}

	if w := req.obsolete.warnings(); w != nil {
		t.Errorf("a limit of 0 is warned of: %q", w)
	}
	req = read(strings.Replace(body, `"KernelMemory":0`, `"KernelMemory":9`, 1))
	if w := req.obsolete.warnings(); len(w) != 1 || !strings.Contains(w[0], "kernel memory limit") || req.HostConfig.Isolation != "vm" {
		t.Errorf("a limit of the kernel's memory: %q, %+v", w, req.HostConfig)
	}

	req = read(body)
	if err := req.upgrade(newestVersion); err != nil {
		t.Fatal(err)
	}
	if len(req.NetworkingConfig.EndpointsConfig) != 0 {
		t.Error("a container-wide MAC address, gone with API 1.52, was taken at the newest")
	}
	if _, err := json.Marshal(req); err != nil {
		t.Error(err)
	}
}
