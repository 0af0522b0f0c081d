package logs

import "time"

// poll paces the looks at a log that is followed. inotify would need an
// instance for each follower, of which a user has 128 by default.
type poll struct {
	timer *time.Timer
	pause time.Duration
}

const (
	pollMin = 5 * time.Millisecond
	pollMax = 200 * time.Millisecond
)

func newPoll() *poll {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &poll{timer: t, pause: pollMin}
}

func (p *poll) reset() { p.pause = pollMin }

func (p *poll) next() <-chan time.Time {
	p.timer.Reset(p.pause)
	p.pause = min(p.pause*2, pollMax)
	return p.timer.C
}

func (p *poll) stop() { p.timer.Stop() }
