package api

import (
	"io"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// maxMessage bounds what a client sends as one message, in bytes.
const maxMessage = 1 << 20

// containersAttachWebSocket is containersAttach for what speaks WebSocket (RFC
// 6455), such as a terminal in a browser. Output goes raw, as Docker's does. A
// page of another origin is refused.
func (s *server) containersAttachWebSocket(w http.ResponseWriter, r *http.Request) error {
	a, err := s.attach(r)
	if err != nil {
		return err
	}
	c, err := websocket.Accept(w, r, nil)
	if err != nil { // which it has answered
		a.streams.Close()
		return nil
	}
	c.SetReadLimit(maxMessage)
	ws := &webSocket{c: c, kind: websocket.MessageBinary}
	if requested(r).before(28) {
		ws.kind = websocket.MessageText
	}
	conn := takenOver(r, ws, ws)
	ws.peer = conn
	return a.serve(conn, false)
}

// webSocket is a stream of messages. A client has no half to close: the end of
// its own is that of all.
type webSocket struct {
	c    *websocket.Conn
	kind websocket.MessageType // of what is written; what is read may be of any
	peer *hijacked

	message io.Reader // nil: the next one
	left    sync.Once
}

func (w *webSocket) Read(p []byte) (int, error) {
	for {
		if w.message == nil {
			_, m, err := w.c.Reader(w.peer.ctx)
			if err != nil {
				return 0, w.gone()
			}
			w.message = m
		}
		n, err := w.message.Read(p)
		switch {
		case err == io.EOF:
			w.message = nil
			if n == 0 {
				continue
			}
		case err != nil:
			return n, w.gone()
		}
		return n, nil
	}
}

func (w *webSocket) gone() error {
	w.left.Do(func() { go w.peer.gone() })
	return io.EOF
}

func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.c.Write(w.peer.ctx, w.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *webSocket) Close() error { return w.c.Close(websocket.StatusNormalClosure, "") }
