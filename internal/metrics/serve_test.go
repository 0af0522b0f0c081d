package metrics

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestServe(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	stop := Serve(l, New().Handler(figures, log), log)
	ask := func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	if code, body := ask("GET", "/metrics"); code != 200 || !strings.Contains(body, "\nabode_containers{") {
		t.Errorf("a scrape is answered with %d: %s", code, body)
	}
	// The engine's API is not here.
	for _, q := range [][2]string{{"GET", "/"}, {"GET", "/_ping"}, {"GET", "/v1.51/info"}, {"POST", "/containers/create"}, {"GET", "/metrics/x"}} {
		if code, _ := ask(q[0], q[1]); code != 404 {
			t.Errorf("%s %s is answered with %d", q[0], q[1], code)
		}
	}
	if code, _ := ask("POST", "/metrics"); code != 405 {
		t.Errorf("a POST of metrics is answered with %d", code)
	}
	if _, err := Listen(address, log); err == nil || !strings.Contains(err.Error(), "--metrics-addr") {
		t.Errorf("an address that is taken: %v", err)
	}
	if strings.Contains(said.String(), "WARN") {
		t.Errorf("a loopback address is warned about: %s", said.String())
	}
	stop()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("it goes on listening")
	}
	again, err := Listen(address, log)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestListen(t *testing.T) {
	for address, want := range map[string]string{
		"9323": "127.0.0.1:9323", "tcp://127.0.0.1:9323": "127.0.0.1:9323", ":9323": "has no host", "127.0.0.1": "127.0.0.1:9323",
		"127.0.0.1:0": "no port", "127.0.0.1:http": "no port", "127.0.0.1:70000": "no port", "192.0.2.1:9323": "cannot assign", "": "127.0.0.1:9323",
	} {
		l, err := Listen(address, slog.New(slog.DiscardHandler))
		if err == nil {
			l.Close()
			t.Errorf("%q is listened on", address)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q in it", address, err, want)
		}
	}
	free, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	var said bytes.Buffer
	l, err := Listen("0.0.0.0:"+port, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if !strings.Contains(said.String(), "level=WARN") {
		t.Errorf("nothing is said of an address that others reach: %s", said.String())
	}
}
