package docker

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// load counts the daemon's goroutines and open files. Each client costs one of
// each at least.
func load(t testing.TB) (goroutines, files int) {
	t.Helper()
	resp, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.Atoi(value)
		switch name {
		case "go_goroutines":
			goroutines = n
		case "process_open_fds":
			files = n
		}
	}
	if goroutines == 0 || files == 0 {
		t.Fatalf("the daemon tells of %d goroutines and %d files", goroutines, files)
	}
	return goroutines, files
}

// A client that hangs up in the middle of a stream leaves nothing of it.
func TestHangUp(t *testing.T) {
	const clients = 20
	for _, w := range walls {
		b := w.bench(t)
		for name, ask := range map[string]string{
			"logs":   "GET /containers/" + b.id + "/logs?follow=1&stdout=1 HTTP/1.1",
			"stats":  "GET /containers/" + b.id + "/stats HTTP/1.1",
			"attach": "POST /containers/" + b.id + "/attach?stream=1&stdout=1 HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade",
			"wait":   "POST /containers/" + b.id + "/wait HTTP/1.1",
			"events": "GET /events HTTP/1.1",
		} {
			t.Run(string(w)+"/"+name, func(t *testing.T) {
				cli(t, "inspect", b.id) // what the daemon opens once
				goroutines, files := load(t)
				var conns []net.Conn
				for range clients {
					conn, err := dial()
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					conns = append(conns, conn)
					fmt.Fprintf(conn, "%s\r\nHost: engine\r\n\r\n", ask)
					if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 200"))); err != nil {
						t.Fatal(err)
					}
				}
				if g, f := load(t); g < goroutines+clients/2 || f < files+clients/2 {
					t.Fatalf("with %d clients the daemon has %d goroutines and %d files, and without %d and %d", clients, g, f, goroutines, files)
				}
				for _, conn := range conns {
					conn.Close()
				}
				eventually(t, "that nothing of them is left", func() bool {
					g, f := load(t)
					return g < goroutines+clients/2 && f < files+clients/2
				})
			})
		}
	}
}

// A client that hangs up in the middle of a pull ends it: the registry is not
// asked any more.
func TestHangUpPull(t *testing.T) {
	asked, gone := make(chan bool), make(chan bool)
	address, end := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return
		}
		close(asked)
		<-r.Context().Done()
		close(gone)
	}))
	defer end()
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /images/create%s HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\n\r\n", query("fromImage", address+"/slow", "tag", "v1"))
	ctx := soon(t)
	select {
	case <-asked:
	case <-ctx.Done():
		t.Fatal("the registry is not asked")
	}
	conn.Close()
	select {
	case <-gone:
	case <-ctx.Done():
		t.Fatal("the pull goes on without its client")
	}
}

// A client that follows logs and does not read them holds up neither the workload nor others.
func TestSlowReader(t *testing.T) {
	for _, w := range walls {
		t.Run(string(w), func(t *testing.T) {
			id := w.create(t, nil, "sh", "-c", "while :; do seq 1 2000; date +%s%N >/now; done")
			conn, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /containers/%s/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: engine\r\n\r\n", id)
			if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 200"))); err != nil {
				t.Fatal(err)
			}
			start(t, id)
			now := func() string { return call(t, "", "exec", id, "cat", "/now").stdout }
			eventually(t, "the output's start", func() bool { return now() != "" })
			for range 3 { // of far more than any buffer holds
				last := now()
				eventually(t, "more output", func() bool { return now() != last })
			}
			does(t, 200, nil, "GET", "/containers/"+id+"/logs"+query("stdout", "1", "tail", "3"), nil)
			does(t, 204, nil, "POST", "/containers/"+id+"/kill", nil)
		})
	}
}
