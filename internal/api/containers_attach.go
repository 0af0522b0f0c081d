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
	keys, err := detachKeys(r.URL.Query().Get("detachKeys"))
	if err != nil {
		return err
	}
	opts := engine.AttachOptions{
		Stdin:  queryBool(r, "stdin"),
		Stdout: queryBool(r, "stdout"),
		Stderr: queryBool(r, "stderr"),
		Logs:   queryBool(r, "logs"),
		Stream: queryBool(r, "stream"),
	}
	streams, err := s.engine.Attach(r.Context(), mux.Vars(r)["name"], opts)
	if err != nil {
		return err
	}
	framed := !streams.TTY
	conn, err := hijack(w, r, streamType(requested(r), framed))
	if err != nil {
		streams.Close()
		return err
	}
	defer conn.shut()
	conn.input(opts.Stdin && opts.Stream)
	if streams.TTY {
		conn.detachOn(keys)
	}
	return conn.served(streams.Serve(conn.ctx, conn, framed))
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
