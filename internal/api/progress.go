package api

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/moby/moby/api/types/jsonstream"
)

// message is one line of a progress stream. ErrorText repeats Error's message
// for clients of before API 1.48.
type message struct {
	jsonstream.Message
	ErrorText string `json:"error,omitempty"`
}

// maxQueued bounds the messages that wait for a slow client. Messages about
// one ID with one status replace each other, so only a stream that never
// repeats itself gets there; then the oldest are left out.
const maxQueued = 4096

// progress is the stream of JSON lines by which pull, load, import and push
// tell how far they are. Reports never wait for the client: a slow client sees
// fewer of them. The response's header goes out with the first report, so that
// an error before any still gets its HTTP status.
type progress struct {
	w http.ResponseWriter
	// done is closed when nothing more will be written.
	done chan struct{}

	mu      sync.Mutex
	wake    *sync.Cond
	queue   []message
	latest  map[string]int // ID → index in queue of its last message
	started bool
	closed  bool
}

// newProgress begins a stream. end must be called before the handler returns,
// also when it panics.
func newProgress(w http.ResponseWriter) *progress {
	p := &progress{w: w, done: make(chan struct{}), latest: map[string]int{}}
	p.wake = sync.NewCond(&p.mu)
	go p.run()
	return p
}

// run writes what is queued until the stream is closed and all is out, or the
// client is gone.
func (p *progress) run() {
	defer close(p.done)
	rc := http.NewResponseController(p.w)
	broken := false
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && !p.closed {
			p.wake.Wait()
		}
		batch := p.queue
		p.queue = nil
		clear(p.latest)
		p.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, m := range batch {
			if broken {
				break // drain, so that memory is not kept
			}
			line, err := json.Marshal(m)
			if err != nil {
				continue
			}
			_, err = p.w.Write(append(line, '\n'))
			broken = err != nil
		}
		if !broken {
			broken = rc.Flush() != nil
		}
	}
}

// report queues a message. It does not block.
func (p *progress) report(m jsonstream.Message) { p.add(message{Message: m}) }

func (p *progress) add(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if !p.started {
		p.started = true
		p.w.Header().Set("Content-Type", "application/json")
		p.w.WriteHeader(http.StatusOK)
	}
	if m.ID != "" {
		if i, ok := p.latest[m.ID]; ok && p.queue[i].Status == m.Status {
			p.queue[i] = m
			return
		}
		p.latest[m.ID] = len(p.queue)
	}
	if len(p.queue) >= maxQueued {
		p.queue = append([]message(nil), p.queue[maxQueued/2:]...)
		p.latest = map[string]int{}
		if m.ID != "" {
			p.latest[m.ID] = len(p.queue)
		}
	}
	p.queue = append(p.queue, m)
	p.wake.Signal()
}

// status queues a line of text, with an ID or without.
func (p *progress) status(id, text string) {
	p.report(jsonstream.Message{ID: id, Status: text})
}

// finish ends the stream and waits until it is out. An error becomes the last
// line; or, when nothing was reported yet, it is returned for the handler to
// return.
func (p *progress) finish(err error) error {
	p.mu.Lock()
	started := p.started
	p.mu.Unlock()
	if err != nil && started {
		p.add(message{
			Message:   jsonstream.Message{Error: &jsonstream.Error{Message: text(err)}},
			ErrorText: text(err),
		})
		err = nil
	}
	p.end()
	return err
}

// end closes the stream and waits until it is out. It may be called again.
func (p *progress) end() {
	p.mu.Lock()
	p.closed = true
	p.wake.Signal()
	p.mu.Unlock()
	<-p.done
}
