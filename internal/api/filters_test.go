package api

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
)

func TestFilters(t *testing.T) {
	read := func(s string) (filters, error) {
		return readFilters(httptest.NewRequest("GET", "/?filters="+url.QueryEscape(s), nil), "label", "name", "until", "dangling")
	}
	for s, want := range map[string]filters{
		``:                          {},
		`{}`:                        {},
		`null`:                      {},
		`{"label":{"a=b":true}}`:    {"label": {"a=b": true}},
		`{"label":["a=b","c"]}`:     {"label": {"a=b": true, "c": true}},
		`{"label":{"a":false}}`:     {"label": {"a": true}},
		`{"label":{},"name":["n"]}`: {"name": {"n": true}},
		`{"label":null}`:            {},
	} {
		got, err := read(s)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v (%v), want %v", s, got, err, want)
		}
	}
	for _, s := range []string{`[]`, `"x"`, `{"label":"x"}`, `{"label":[1]}`, `{"lable":["x"]}`, `{`, `{"label":{"a":1}}`} {
		if got, err := read(s); !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%s: got %v (%v), want invalid", s, got, err)
		}
	}
}

func TestFilterTerms(t *testing.T) {
	set := func(vs ...string) map[string]bool {
		m := map[string]bool{}
		for _, v := range vs {
			m[v] = true
		}
		return m
	}
	labels := map[string]string{"a": "b", "empty": ""}
	for _, c := range []struct {
		f    filters
		want bool
	}{
		{nil, true},
		{filters{"label": set("a")}, true},
		{filters{"label": set("a=b", "empty=")}, true},
		{filters{"label": set("a=b", "x")}, false},
		{filters{"label": set("a=")}, false},
		{filters{"label!": set("a=c")}, true},
		{filters{"label!": set("a")}, false},
	} {
		if got := c.f.labels(labels); got != c.want {
			t.Errorf("%v: got %v", c.f, got)
		}
	}
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"24h":                  now.Add(-24 * time.Hour),
		"1714979289":           now,
		"2024-05-06T07:08:09Z": now,
		"2024-05-06":           time.Date(2024, 5, 6, 0, 0, 0, 0, time.UTC),
		"2024-05-06T07:08:09":  now,
	} {
		if got, err := (filters{"until": set(s)}).until(now); err != nil || !got.Equal(want) {
			t.Errorf("until %s: got %v (%v), want %v", s, got, err, want)
		}
	}
	for _, f := range []filters{{"until": set("x")}, {"until": set("1h", "2h")}} {
		if got, err := f.until(now); err == nil {
			t.Errorf("%v: got %v, want an error", f, got)
		}
	}
	for name, want := range map[string]bool{"nginx:1.2": true, "nginx:latest": true, "nginx2:1": false, "x/nginx:1": false} {
		if got := matchReference("nginx", name); got != want {
			t.Errorf("nginx matches %s: %v", name, got)
		}
	}
	if !matchReference("localhost:5000/*", "localhost:5000/a:b") || !matchReference("nginx:1.*", "nginx:1.2") || matchReference("[", "[") {
		t.Error("patterns of references do not match as they should")
	}
}

func TestMatchEvent(t *testing.T) {
	m := events.Message{
		Type: events.ContainerEventType, Action: "exec_create: sh -c true", Scope: "local",
		Actor: events.Actor{ID: "abcdef", Attributes: map[string]string{"name": "web", "image": "nginx:1", "l": "v"}},
	}
	for s, want := range map[string]bool{
		`{}`:                                true,
		`{"event":["exec_create"]}`:         true,
		`{"event":["start"]}`:               false,
		`{"event":["start","exec_create"]}`: true,
		`{"container":["web"]}`:             true,
		`{"container":["abc"]}`:             true,
		`{"container":["x"]}`:               false,
		`{"volume":["web"]}`:                false,
		`{"type":["container"]}`:            true,
		`{"type":["image"]}`:                false,
		`{"image":["nginx"]}`:               true,
		`{"image":["nginx:2"]}`:             false,
		`{"label":["l=v"]}`:                 true,
		`{"label":["l=w"]}`:                 false,
		`{"scope":["swarm"]}`:               false,
	} {
		f, err := parseFilters(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := matchEvent(f, m); got != want {
			t.Errorf("%s: got %v", s, got)
		}
	}
}

func FuzzFilters(f *testing.F) {
	for _, s := range []string{``, `{"label":{"a=b":true}}`, `{"label":["x"],"until":["24h"]}`, `{"dangling":["1"]}`, `[]`, `{"a":{"b":null}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseFilters(s)
		if err != nil {
			return
		}
		for term := range got {
			if len(got.values(term)) == 0 {
				t.Fatalf("%q: term %q has no values", s, term)
			}
		}
		got.labels(map[string]string{"a": "b"})
		_, _ = got.until(time.Now())
		_, _ = got.boolean("dangling", false)
		matchEvent(got, events.Message{})
	})
}

func FuzzAuth(f *testing.F) {
	for _, s := range []string{"", "e30=", "e30", "eyJ1c2VybmFtZSI6ImEiLCJwYXNzd29yZCI6ImIifQ==", "!!", "bnVsbA", "W10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header["X-Registry-Auth"] = []string{s}
		auth, err := authHeader(r)
		if err != nil && !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Fatalf("%q: %v is not the client's fault", s, err)
		}
		if auth != nil && err != nil {
			t.Fatalf("%q: both credentials and %v", s, err)
		}
		if host, err := registryHost(s); err == nil && host == "" {
			t.Fatalf("%q has no host", s)
		}
	})
}
