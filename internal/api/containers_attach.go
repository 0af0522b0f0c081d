package api

import (
	"net/http"

	"github.com/gorilla/mux"
	"github.com/moby/term"

	"github.com/abode-run/abode/internal/engine"
)

// containersAttach joins a client to a container's streams. Errors before the
// connection is taken over have their status; later ones end the stream.
func (s *server) containersAttach(w http.ResponseWriter, r *http.Request) error {
	a, err := s.attach(r)
	if err != nil {
		return err
	}
	framed := !a.streams.TTY
	conn, err := hijack(w, r, streamType(requested(r), framed))
	if err != nil {
		a.streams.Close()
		return err
	}
	return a.serve(conn, framed)
}

// attachment is an attach that has no connection yet.
type attachment struct {
	streams *engine.Streams
	input   bool
	keys    []byte
}

func (s *server) attach(r *http.Request) (a attachment, err error) {
	if a.keys, err = detachKeys(r.URL.Query().Get("detachKeys")); err != nil {
		return a, err
	}
	opts := engine.AttachOptions{
		Stdin:  queryBool(r, "stdin"),
		Stdout: queryBool(r, "stdout"),
		Stderr: queryBool(r, "stderr"),
		Logs:   queryBool(r, "logs"),
		Stream: queryBool(r, "stream"),
	}
	a.input = opts.Stdin && opts.Stream
	a.streams, err = s.engine.Attach(r.Context(), mux.Vars(r)["name"], opts)
	return a, err
}

// serve copies until one side has ended, and shuts the connection.
func (a attachment) serve(conn *hijacked, framed bool) error {
	defer conn.shut()
	conn.input(a.input)
	if a.streams.TTY {
		conn.detachOn(a.keys)
	}
	return conn.served(a.streams.Serve(conn.ctx, conn, framed))
}

// defaultDetachKeys leave a terminal without ending what runs in it.
var defaultDetachKeys = []byte{16, 17} // ctrl-p, ctrl-q

// detachKeys reads a key sequence such as "ctrl-x,q".
func detachKeys(s string) ([]byte, error) {
	if s == "" {
		return defaultDetachKeys, nil
	}
	keys, err := term.ToBytes(s)
	if err != nil {
		return nil, invalid("Invalid detach keys: " + err.Error())
	}
	return keys, nil
}
