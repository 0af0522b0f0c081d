package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// barWidth is that of Docker's bars.
const barWidth = 52

// bars keeps one line for each ID that messages name, in the order in which
// they come; lines without an ID stand above, or below once end was called.
type bars struct {
	out  *os.File
	all  *mpb.Progress
	byID map[string]*bar
	// last are lines that came after the first bar: what was done as a
	// whole, such as the image's digest.
	last []string
}

type bar struct {
	*mpb.Bar
	mu      sync.Mutex
	id      string
	status  string
	current int64
	total   int64
}

func newBars(out *os.File) *bars {
	return &bars{out: out, byID: map[string]*bar{}}
}

func (b *bars) message(m jsonstream.Message) {
	if m.ID == "" || m.Stream != "" {
		line := strings.TrimRight(m.Stream+m.Status, "\n")
		if line == "" && m.Progress != nil {
			return
		}
		if b.all == nil {
			fmt.Fprintln(b.out, line)
		} else {
			b.last = append(b.last, line)
		}
		return
	}
	if m.Progress == nil && strings.HasPrefix(m.Status, "Pulling from ") {
		fmt.Fprintf(b.out, "%s: %s\n", m.ID, m.Status)
		return
	}
	line := b.byID[m.ID]
	if line == nil {
		line = b.add(m.ID)
	}
	line.mu.Lock()
	line.status, line.current, line.total = m.Status, 0, 0
	if m.Progress != nil {
		line.current, line.total = m.Progress.Current, m.Progress.Total
	}
	line.mu.Unlock()
}

func (b *bars) add(id string) *bar {
	if b.all == nil {
		b.all = mpb.New(mpb.WithOutput(b.out), mpb.WithWidth(barWidth))
	}
	line := &bar{id: id}
	full := mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]").Build()
	line.Bar = b.all.MustAdd(0, mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		line.mu.Lock()
		s.Current, s.Total = line.current, line.total
		line.mu.Unlock()
		if s.Total <= 0 {
			return nil
		}
		s.Completed = false
		return full.Fill(w, s)
	}),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
			line.mu.Lock()
			defer line.mu.Unlock()
			return line.id + ": " + line.status + " "
		})),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			line.mu.Lock()
			defer line.mu.Unlock()
			return counts(line.current, line.total)
		})),
	)
	b.byID[id] = line
	return line
}

// counts is how far a transfer is, such as 1.2MB/3.4MB.
func counts(current, total int64) string {
	switch {
	case total > 0 && current <= total:
		return fmt.Sprintf(" %s/%s", units.HumanSize(float64(current)), units.HumanSize(float64(total)))
	case current > 0:
		return " " + units.HumanSize(float64(current))
	}
	return ""
}

func (b *bars) end() {
	if b.all != nil {
		for _, line := range b.byID {
			line.SetTotal(-1, true)
		}
		b.all.Wait()
	}
	for _, line := range b.last {
		fmt.Fprintln(b.out, line)
	}
	b.last = nil
}
