package image

import (
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// Event is one step of a pull, push, load or import, in the words that Docker uses.
type Event struct {
	// ID is the short digest of the layer that the event is about. In the
	// first event of a pull it is the tag or digest, and in events about the
	// whole it is empty.
	ID     string
	Status string
	// Current and Total are bytes; both are 0 where there is nothing to count.
	Current, Total int64
	// Pushed is what a push has left in the registry; such an event has nothing
	// else.
	Pushed *Pushed
}

// Progress receives events, one at a time. It should not block. A nil
// Progress is ready to use and ignores them.
type Progress func(Event)

// The words.
const (
	statusPulling      = "Pulling fs layer"
	statusWaiting      = "Waiting"
	statusDownloading  = "Downloading"
	statusVerifying    = "Verifying Checksum"
	statusDownloaded   = "Download complete"
	statusExtracting   = "Extracting"
	statusPullComplete = "Pull complete"
	statusExists       = "Already exists"
	statusLoading      = "Loading layer"
	statusPreparing    = "Preparing"
	statusPushing      = "Pushing"
	statusPushed       = "Pushed"
	statusThere        = "Layer already exists"
	statusMounted      = "Mounted from "
)

// eventInterval is the least time between two events of one layer that only
// count bytes.
const eventInterval = 100 * time.Millisecond

// serial returns a Progress for concurrent use that calls p once at a time.
func (p Progress) serial() Progress {
	if p == nil {
		return func(Event) {}
	}
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		p(e)
	}
}

// status reports a step that has no bytes to count.
func (p Progress) status(id, status string) { p(Event{ID: id, Status: status}) }

// A counter reports how many bytes of one layer have passed through it, not
// more often than eventInterval.
type counter struct {
	progress       Progress
	id, status     string
	current, total int64
	last           time.Time
}

func (c *counter) add(n int) {
	c.current += int64(n)
	if now := time.Now(); now.Sub(c.last) >= eventInterval || c.current == c.total {
		c.last = now
		c.progress(Event{ID: c.id, Status: c.status, Current: c.current, Total: c.total})
	}
}

// reader counts what is read from r.
func (c *counter) reader(r io.Reader) io.Reader { return countingReader{r, c} }

type countingReader struct {
	r io.Reader
	c *counter
}

func (r countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.c.add(n)
	}
	return n, err
}

// short is the form in which Docker shows digests: 12 digits.
func short(d digest.Digest) string {
	hex := d.Encoded()
	return hex[:min(12, len(hex))]
}
